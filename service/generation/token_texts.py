"""A token as text and as bytes, for the `logprobs` of completions and chat, which share it.

The text of an answer comes decoded from the worker; of single tokens it sends ids only (`TokenInfo`).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from tokenizers import Tokenizer

_REPLACEMENT: Final = "\ufffd"
"""What a tokenizer decodes to where bytes are no whole character."""
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
"""The name of a single byte in vocabularies of SentencePiece."""


class TokenTexts:
    """A token's text is what it adds to a text; where it is only a part of a character, its name in the vocabulary."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # Some tokenizers write a token at the start of a text without its leading space: so each is decoded after "a".
        self._context = list(tokenizer.encode("a", add_special_tokens=False).ids)
        self._context_length = len(self._decode(self._context))

    def text(self, token: int) -> str:
        added_text = self._text_after_context(token)
        return str(self._tokenizer.id_to_token(token)) if _REPLACEMENT in added_text else added_text

    def data(self, token: int) -> list[int] | None:
        """The token's bytes in UTF-8, also of a part of a character; None where the vocabulary does not tell them."""
        added_text = self._text_after_context(token)
        if _REPLACEMENT not in added_text:
            return list(added_text.encode())
        name = str(self._tokenizer.id_to_token(token))
        if byte_token := _BYTE_TOKEN.fullmatch(name):
            return [int(byte_token[1], 16)]
        byte_of = _byte_of_symbol()
        return [byte_of[symbol] for symbol in name] if all(symbol in byte_of for symbol in name) else None

    def _text_after_context(self, token: int) -> str:
        return self._decode([*self._context, token])[self._context_length :]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))


@cache
def _byte_of_symbol() -> dict[str, int]:
    """How byte-level vocabularies write bytes: printable ones of Latin-1 as themselves, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
