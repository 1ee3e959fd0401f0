"""Decode one request: its prompts and choices as rows of one batch, all on one version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import DynamicCache

from api_schemas.generation import (
    FinishEvent,
    GenerationEvent,
    GenerationRequest,
    PromptEvent,
    TokenInfo,
    TokensEvent,
)
from editing.decoder import Decoder
from workers.generation.sampling import generator_for, next_token
from workers.generation.text import TextStream

MOST_ROWS = 32
"""Rows decoded together; a request with more is served in turns."""


@dataclass
class _Row:
    choice: int
    prompt: list[int]
    text: TextStream
    generator: torch.Generator
    generated: int = 0
    last: int = 0
    done: bool = False


class RequestDecoder:
    """Decodes requests with `decoder` in the calling thread's current frame (`editing.projection.frame`)."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, end_tokens: frozenset[int]) -> None:
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.end_tokens = end_tokens

    @torch.inference_mode()
    def decode(self, request: GenerationRequest, cancelled: Callable[[], bool]) -> Iterator[GenerationEvent]:
        """Events of all choices in the order in which they happen; ends early, silently, when `cancelled` says so."""
        rows = [
            _Row(
                choice,
                request.prompts[choice // request.n],
                TextStream(self.tokenizer, request.prompts[choice // request.n], request.stop),
                generator_for(request.seed, choice),
            )
            for choice in range(len(request.prompts) * request.n)
        ]
        for first in range(0, len(rows), MOST_ROWS):
            yield from self._decode_rows(request, rows[first : first + MOST_ROWS], cancelled)

    def _decode_rows(
        self, request: GenerationRequest, rows: list[_Row], cancelled: Callable[[], bool]
    ) -> Iterator[GenerationEvent]:
        width = max(len(row.prompt) for row in rows)
        cache = DynamicCache()
        tokens, positions, keep = self._padded([row.prompt for row in rows], width)
        mask = _mask(keep, width, self.decoder.dtype)
        hidden = self.decoder.embed(tokens, positions)
        hidden = self.decoder.run_layers(hidden, positions, mask, 0, len(self.decoder.layers), cache)
        if request.echo and request.logprobs is not None:
            for number, row in enumerate(rows):
                own = self.decoder.logits(hidden[number, width - len(row.prompt) :]).float()
                yield PromptEvent(choice=row.choice, tokens=self._prompt_infos(row.prompt, own, request.logprobs))
        logits = self.decoder.logits(hidden[:, -1]).float()

        while True:
            for number, row in enumerate(rows):
                if not row.done:
                    yield from self._advance(request, row, logits[number])
            if all(row.done for row in rows) or cancelled():
                return
            keep = torch.cat([keep, torch.ones(len(rows), 1, dtype=torch.bool, device=keep.device)], dim=1)
            tokens = torch.tensor([[row.last] for row in rows], device=keep.device)
            positions = torch.tensor([[len(row.prompt) + row.generated - 1] for row in rows], device=keep.device)
            mask = _mask(keep, 1, self.decoder.dtype)
            hidden = self.decoder.embed(tokens, positions)
            hidden = self.decoder.run_layers(hidden, positions, mask, 0, len(self.decoder.layers), cache)
            logits = self.decoder.logits(hidden[:, -1]).float()

    def _advance(self, request: GenerationRequest, row: _Row, logits: Tensor) -> Iterator[GenerationEvent]:
        if request.max_tokens == 0:
            row.done = True
            yield FinishEvent(choice=row.choice, reason="length")
            return
        token = next_token(logits, request.temperature, request.top_p, row.generator)
        infos = []
        if request.logprobs is not None:
            infos = [self._info(token, torch.log_softmax(logits, dim=-1), request.logprobs)]
        row.last, row.generated = token, row.generated + 1
        ended = token in self.end_tokens
        text = "" if ended else row.text.push(token)
        at_length = row.generated >= request.max_tokens
        row.done = ended or row.text.stopped or at_length
        if row.done and not row.text.stopped:
            text += row.text.finish()
        yield TokensEvent(choice=row.choice, text=text, count=1, tokens=infos)
        if row.done:
            yield FinishEvent(choice=row.choice, reason="stop" if ended or row.text.stopped else "length")

    def _padded(self, prompts: Sequence[Sequence[int]], width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Left-padded token ids, position ids and which tokens are real, each (rows, width)."""
        device = self.decoder.device
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        keep = torch.arange(width, device=device) >= (width - lengths)[:, None]
        tokens = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
        positions = (keep.long().cumsum(1) - 1).clamp(min=0)
        return tokens, positions, keep

    def _info(self, token: int, logprobs: Tensor, top: int) -> TokenInfo:
        best = {}
        if top:
            values, ids = logprobs.topk(top)
            best = {self._piece(int(i)): float(v) for v, i in zip(values.tolist(), ids.tolist(), strict=True)}
        value = float(logprobs[token])
        best.setdefault(self._piece(token), value)
        return TokenInfo(id=token, text=self._piece(token), logprob=value, top=best)

    def _prompt_infos(self, prompt: Sequence[int], logits: Tensor, top: int) -> list[TokenInfo]:
        """Each prompt token under the prediction before it; logits (T, vocabulary). The first has none."""
        logprobs = torch.log_softmax(logits, dim=-1)
        first = TokenInfo(id=prompt[0], text=self._piece(prompt[0]), logprob=None, top=None)
        return [first] + [self._info(token, logprobs[n], top) for n, token in enumerate(prompt[1:])]

    def _piece(self, token: int) -> str:
        return self.tokenizer.decode([token], skip_special_tokens=False)


def _mask(keep: Tensor, new: int, dtype: torch.dtype) -> Tensor:
    """Additive mask (rows, 1, new, T) for the last `new` of T tokens: causal, and blind to padding.

    A padded row sees itself, so that no row of the softmax is empty.
    """
    total = keep.shape[1]
    at = torch.arange(total - new, total, device=keep.device)
    upto = torch.arange(total, device=keep.device)
    seen = (upto[None, :] <= at[:, None]) & keep[:, None, :] | (upto[None, :] == at[:, None])
    mask = torch.zeros(keep.shape[0], 1, new, total, dtype=dtype, device=keep.device)
    return mask.masked_fill(~seen[:, None], torch.finfo(dtype).min)
