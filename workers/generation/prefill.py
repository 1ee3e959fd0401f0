"""Reading the prompts of rows that are about to join a batch, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editing.model.decoder import Decoder
from workers.generation.cache import RowCache
from workers.generation.passes import Passes
from workers.generation.rows import Row, Scored, token_logprobs

PREFILL_TOKENS = 512
"""Padded prompt tokens that are run at once: between two such pieces the rows that are decoded make a step.

Enough to keep a GPU busy; on two slow cores it is about as long as anybody likes to wait for the next token.
"""
LOGPROB_POSITIONS = 64
"""Prompt positions whose logits are in memory at once."""


class Prefill:
    """The rows of one group, left-padded to one width. Choices of one prompt share its reading.

    Which tokens are run together depends on lengths and numbers of rows alone, not on their versions.
    """

    def __init__(self, decoder: Decoder, rows: Sequence[Row], passes: Passes) -> None:
        self.rows = list(rows)
        self._decoder = decoder
        self._passes = passes
        self._place: dict[tuple[int, int], int] = {}
        first: list[Row] = []
        for row in rows:
            if _prompt_of(row) not in self._place:
                self._place[_prompt_of(row)] = len(first)
                first.append(row)
        self._prompts = first
        self._width = max(len(row.prompt) for row in first)
        self._tokens, self._positions, self._keep = _left_padded(
            [row.prompt for row in first], self._width, decoder.device
        )
        self._parts = passes.parts([row.matrices for row in first])
        self._cache = RowCache(len(decoder.layers))
        self._scored: list[list[Scored]] = [[] for _ in first]
        self._read = 0
        self._last: Tensor | None = None

    @property
    def is_done(self) -> bool:
        return self._read == self._width

    def read(self) -> None:
        """Run the next piece: at most `PREFILL_TOKENS` padded tokens, or one of each prompt."""
        start = self._read
        end = min(self._width, start + max(1, PREFILL_TOKENS // len(self._prompts)))
        self._cache.extend(self._keep[:, start:end])
        tokens, positions = self._tokens[:, start:end], self._positions[:, start:end]
        hidden = self._passes.stream(tokens, positions, self._cache, self._parts)
        for number, row in enumerate(self._prompts):
            if row.request.tells_prompts:
                self._score(number, row, hidden[number], start)
        self._read, self._last = end, hidden[:, -1]

    def outcome(self, rows: Sequence[Row]) -> tuple[Tensor, list[list[Scored]]]:
        """For each of `rows` the logits (rows, vocabulary) after its prompt, float32, and what its tokens scored."""
        assert self._last is not None
        places = [self._place[_prompt_of(row)] for row in rows]
        logits = self._decoder.logits(self._last).float()
        return logits[places], [self._scored[place] for place in places]

    def cache_of(self, rows: Sequence[Row]) -> RowCache:
        """The cache of `rows` alone, each with its prompt's keys and values. Asked for once, at the end."""
        places = [self._place[_prompt_of(row)] for row in rows]
        if places != list(range(len(self._prompts))):
            self._cache.select(places)
        return self._cache

    def _score(self, number: int, row: Row, hidden: Tensor, start: int) -> None:
        """The log-probabilities of those tokens of a prompt that follow the slots of `hidden` (T, d_out)."""
        assert row.request.logprobs is not None
        offset = self._width - len(row.prompt)
        first, last = max(start, offset), min(start + hidden.shape[0], self._width - 1)
        for slot in range(first, last, LOGPROB_POSITIONS):
            until = min(slot + LOGPROB_POSITIONS, last)
            logits = self._decoder.logits(hidden[slot - start : until - start]).float()
            following = row.prompt[slot + 1 - offset : until + 1 - offset]
            self._scored[number] += token_logprobs(logits, following, row.request.logprobs)


def _prompt_of(row: Row) -> tuple[int, int]:
    return id(row.request), row.prompt_number


def _left_padded(prompts: Sequence[Sequence[int]], width: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, position ids and which tokens are real, each (rows, width)."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    keep = torch.arange(width, device=device) >= (width - lengths)[:, None]
    tokens = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    positions = (keep.long().cumsum(1) - 1).clamp(min=0)
    return tokens, positions, keep
