"""A batch of rows of any versions that join and leave between decode steps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

import structlog
import torch
from tokenizers import Tokenizer
from torch import Tensor

from configuration.redis.generation_messages import GenerationEvent
from editing.model.decoder import Decoder
from editing.model.projection import Frame, Matrices, RowVersions
from workers.generation.cache import RowCache
from workers.generation.memory import is_out_of_memory
from workers.generation.passes import Part, Passes
from workers.generation.prefill import Prefill
from workers.generation.rows import Row, Scored

MOST_PREFILLS = 4
"""Groups of rows whose prompts are read at a time, a piece of one after a piece of another."""

RowEvents = tuple[Row, list[GenerationEvent]]

FAILED = "generation failed; the worker's log says why"
NO_ROOM = "the worker's memory has no room for this beside the answers that are under way; send it again later"

log = structlog.get_logger(__name__)


class DecodeBatch:
    """Decodes rows with the shared `decoder`. Belongs to one thread; the model is not written to.

    A row that cannot go on ends with an ErrorEvent; the others do not notice.
    `frame_of` makes of the matrices of each row the frame that they are run in.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        end_tokens: frozenset[int],
        frame_of: Callable[[Sequence[Matrices]], Frame] = RowVersions,
    ) -> None:
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.end_tokens = end_tokens
        self.rows: list[Row] = []
        self._passes = Passes(decoder, frame_of)
        self._parts: list[Part] = []
        self._cache: RowCache | None = None
        self._prefills: deque[Prefill] = deque()

    def close(self) -> None:
        """End the threads that ran the model; where rows go on after all, they are begun anew."""
        self._passes.close()

    @property
    def is_reading(self) -> bool:
        """Whether rows that joined have prompts that are not read to their end."""
        return bool(self._prefills)

    @property
    def takes_more(self) -> bool:
        """Whether others may join: so many groups take turns that a long prompt does not keep short ones waiting."""
        return len(self._prefills) < MOST_PREFILLS

    @property
    def members(self) -> list[Row]:
        """All rows, also those whose prompts are being read."""
        return [*self.rows, *(row for prefill in self._prefills for row in prefill.rows)]

    def slot_bytes(self) -> int:
        """Bytes of one cache slot: keys and values of one token in all layers."""
        config = self.decoder.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 2 * len(self.decoder.layers) * int(heads) * int(size) * self.decoder.dtype.itemsize

    def join(self, rows: Sequence[Row]) -> list[RowEvents]:
        """Let a group of rows in, whose prompts `read` then reads together; why not, where it cannot."""
        try:
            self._prefills.append(Prefill(self.decoder, rows, self._passes))
        except Exception as error:
            return _refused(rows, error)
        return []

    @torch.inference_mode()
    def read(self) -> list[RowEvents]:
        """One piece of the prompts of a group that joined, the groups by turns; after its last one its first tokens."""
        if not self._prefills:
            return []
        prefill = self._prefills.popleft()
        try:
            prefill.read()
            if not prefill.is_done:
                self._prefills.append(prefill)
                return []
            logits, scored = prefill.outcome(prefill.rows)
        except Exception as error:
            return _refused(prefill.rows, error)
        events = self._advance(prefill.rows, logits, scored)
        staying = [row for row in prefill.rows if not row.done]
        try:
            self._take_in(prefill, staying)
        except Exception as error:
            # What they have said by now is not told: their requests end with an error.
            ended = [(row, own) for row, own in events if row.done]
            return ended + _refused(staying, error)
        return events

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
        events = self._advance(self.rows, self._passes.logits(tokens, positions, self._cache, self._parts))
        self.leave(lambda row: row.done)
        return events

    def leave(self, which: Callable[[Row], bool]) -> None:
        """Take rows out and free their cache."""
        for prefill in self._prefills:
            # Their prompts go on being read beside those of the others: that is a few pieces, and nothing is moved.
            prefill.rows = [row for row in prefill.rows if not which(row)]
        self._prefills = deque(prefill for prefill in self._prefills if prefill.rows)
        staying = [number for number, row in enumerate(self.rows) if not which(row)]
        if len(staying) == len(self.rows):
            return
        self.rows = [self.rows[number] for number in staying]
        self._parts = self._passes.parts([row.matrices for row in self.rows])
        if not self.rows:
            self._cache = None
        elif self._cache is not None:
            self._cache.select(staying)

    def _take_in(self, prefill: Prefill, staying: Sequence[Row]) -> None:
        """Rows that have more to say after their first tokens. Where it raises, the others are as they were."""
        if not staying:
            return
        rows = [*self.rows, *staying]
        parts = self._passes.parts([row.matrices for row in rows])
        cache = prefill.cache_of(staying)
        if self._cache is None:
            self._cache = cache
        else:
            self._cache.merge(cache)
        self.rows, self._parts = rows, parts

    def _advance(
        self, rows: Sequence[Row], logits: Tensor, scored: Sequence[Sequence[Scored]] | None = None
    ) -> list[RowEvents]:
        """What each of `rows` says to its `logits` (rows, vocabulary); first what its prompt scored, where it asked."""
        # Once for all rows: a GPU is waited for with each number that is asked of it.
        highest, best = (found.tolist() for found in logits.max(-1))
        found = []
        for number, row in enumerate(rows):
            try:
                own = scored[number] if scored is not None and row.request.tells_prompts else None
                found.append((row, self._next(row, logits[number], best[number], highest[number], own)))
            except Exception:
                log.exception("a row failed", request=row.request.id, version=row.request.version)
                found.append((row, row.fail(FAILED)))
        return found

    def _next(
        self, row: Row, logits: Tensor, best: int, highest: float, scored: Sequence[Scored] | None
    ) -> list[GenerationEvent]:
        # The highest is NaN or infinite where any is that can come of a version whose numbers overflow.
        if not math.isfinite(highest) or any(math.isnan(value) for value, _ in scored or ()):
            log.error("logits are not finite", request=row.request.id, version=row.request.version)
            return row.fail(
                f"v{row.request.version} computes numbers that are not finite here (in {self.decoder.dtype}), so that "
                "there is no next token; ask for another version"
            )
        events: list[GenerationEvent] = [] if scored is None else [row.prompt_event(scored)]
        return events + row.advance(logits, best, self.end_tokens)


def _refused(rows: Sequence[Row], error: Exception) -> list[RowEvents]:
    """Rows that could not join end; those before them go on. Call it where `error` was caught."""
    if is_out_of_memory(error):
        log.warning("no memory for rows that would join; the others go on", rows=len(rows), error=str(error))
        return [(row, row.fail(NO_ROOM, 503, "out_of_memory")) for row in rows]
    log.exception("rows cannot join", rows=len(rows))
    return [(row, row.fail(FAILED)) for row in rows]
