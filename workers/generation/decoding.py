"""A batch of rows of any versions that join and leave between decode steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from api_schemas.generation import GenerationEvent
from editing.decoder import Decoder
from editing.masks import left_padded_mask
from editing.projection import RowVersions, frame
from workers.generation.cache import RowCache
from workers.generation.rows import Row, Scored, token_logprobs

PREFILL_TOKENS = 2048
"""Padded prompt tokens run together; others wait for the next turn, so that running rows do not wait long."""
LOGPROB_POSITIONS = 64
"""Prompt positions whose logits are in memory at once."""

RowEvents = tuple[Row, list[GenerationEvent]]


class DecodeBatch:
    """Decodes rows with the shared `decoder`. Belongs to one thread; the model is not written to."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, end_tokens: frozenset[int]) -> None:
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.end_tokens = end_tokens
        self.rows: list[Row] = []
        self._cache: RowCache | None = None
        self._versions = RowVersions([])

    def slot_bytes(self) -> int:
        """Bytes of one cache slot: keys and values of one token in all layers."""
        config = self.decoder.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 2 * len(self.decoder.layers) * int(heads) * int(size) * self.decoder.dtype.itemsize

    @torch.inference_mode()
    def join(self, rows: Sequence[Row]) -> Iterator[RowEvents]:
        """Read the prompts of new rows and choose their first tokens; those that go on are in the batch afterwards."""
        for together in _prefills(rows):
            yield from self._prefill(together)

    @torch.inference_mode()
    def step(self) -> list[RowEvents]:
        """One more token for every row; rows that are done leave."""
        if not self.rows:
            return []
        assert self._cache is not None
        device = self.decoder.device
        tokens = torch.tensor([[row.last] for row in self.rows], device=device)
        positions = torch.tensor([[row.length - 1] for row in self.rows], device=device)
        self._cache.extend(torch.ones(len(self.rows), 1, dtype=torch.bool, device=device))
        hidden = self._run(tokens, positions, self._cache, self._versions)
        logits = self.decoder.logits(hidden[:, -1]).float()
        events = [(row, row.advance(logits[number], self.end_tokens)) for number, row in enumerate(self.rows)]
        self.leave(lambda row: row.done)
        return events

    def leave(self, which: Callable[[Row], bool]) -> None:
        """Take rows out and free their cache."""
        staying = [number for number, row in enumerate(self.rows) if not which(row)]
        if len(staying) == len(self.rows):
            return
        self.rows = [self.rows[number] for number in staying]
        self._versions = RowVersions([row.matrices for row in self.rows])
        if not self.rows:
            self._cache = None
        elif self._cache is not None:
            self._cache.select(staying)

    def _prefill(self, rows: Sequence[Row]) -> Iterator[RowEvents]:
        width = max(len(row.prompt) for row in rows)
        cache = RowCache(len(self.decoder.layers))
        tokens, positions, keep = _left_padded([row.prompt for row in rows], width, self.decoder.device)
        cache.extend(keep)
        hidden = self._run(tokens, positions, cache, RowVersions([row.matrices for row in rows]))
        logits = self.decoder.logits(hidden[:, -1]).float()
        for number, row in enumerate(rows):
            events: list[GenerationEvent] = []
            if row.wants_prompt_logprobs:
                events.append(self._prompt_event(row, hidden[number, width - len(row.prompt) : -1]))
            yield row, events + row.advance(logits[number], self.end_tokens)
        staying = [number for number, row in enumerate(rows) if not row.done]
        if not staying:
            return
        if len(staying) < len(rows):
            cache.select(staying)
        if self._cache is None:
            self._cache = cache
        else:
            self._cache.merge(cache)
        self.rows += [rows[number] for number in staying]
        self._versions = RowVersions([row.matrices for row in self.rows])

    def _run(self, tokens: Tensor, positions: Tensor, cache: RowCache, versions: RowVersions) -> Tensor:
        mask = left_padded_mask(cache.keep, tokens.shape[1], self.decoder.dtype)
        with frame(versions):
            hidden = self.decoder.embed(tokens, positions)
            return self.decoder.run_layers(hidden, positions, mask, 0, len(self.decoder.layers), cache)

    def _prompt_event(self, row: Row, hidden: Tensor) -> GenerationEvent:
        """Log-probabilities of a prompt's tokens from `hidden` (T - 1, d_out), the stream before each of them."""
        assert row.request.logprobs is not None
        found: list[Scored] = []
        for start in range(0, hidden.shape[0], LOGPROB_POSITIONS):
            part = hidden[start : start + LOGPROB_POSITIONS]
            following = row.prompt[1 + start : 1 + start + part.shape[0]]
            found += token_logprobs(self.decoder.logits(part).float(), following, row.request.logprobs)
        return row.prompt_event(found)


def _prefills(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of like length together, at most `PREFILL_TOKENS` padded tokens each time (or one row)."""
    found: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: len(row.prompt)):
        if found and (len(found[-1]) + 1) * len(row.prompt) <= PREFILL_TOKENS:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def _left_padded(prompts: Sequence[Sequence[int]], width: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, position ids and which tokens are real, each (rows, width)."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    keep = torch.arange(width, device=device) >= (width - lengths)[:, None]
    tokens = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    positions = (keep.long().cumsum(1) - 1).clamp(min=0)
    return tokens, positions, keep
