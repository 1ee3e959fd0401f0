# Made by client/unasync.py from tokenization.py of _async: change that one, and run it.
"""`client.tokenization`: a model's tokens, without a tokenizer of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emmetd_client._calls import Call, reading
from emmetd_client._sync.transport import Transport
from emmetd_client.models.tokenization import Detokenized, Tokenized, TokenizerInfo


class Tokenization:
    """`client.tokenization`. `model` may be left out where the server has one only."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def tokenize(
        self,
        prompt: str | None = None,
        *,
        model: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        add_special_tokens: bool | None = None,
        add_generation_prompt: bool | None = None,
        return_token_strs: bool | None = None,
    ) -> Tokenized:
        """The tokens of a prompt, or of the messages of a conversation through the chat template."""
        body = {
            "model": model,
            "prompt": prompt,
            "messages": None if messages is None else [dict(message) for message in messages],
            "add_special_tokens": add_special_tokens,
            "add_generation_prompt": add_generation_prompt,
            "return_token_strs": return_token_strs,
        }
        return self._transport.send(Call("POST", "/tokenize", reading(Tokenized), body=body))

    def detokenize(self, tokens: Sequence[int], *, model: str | None = None) -> str:
        body = {"model": model, "tokens": list(tokens)}
        return (self._transport.send(Call("POST", "/detokenize", reading(Detokenized), body=body))).prompt

    def info(self, *, model: str | None = None) -> TokenizerInfo:
        return self._transport.send(Call("GET", "/tokenizer_info", reading(TokenizerInfo), query={"model": model}))
