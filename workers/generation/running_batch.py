"""Continuous batching: decodes sequences of any versions that join and leave between decode steps."""

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
from workers.generation.key_value_cache import KeyValueCache
from workers.generation.memory import is_out_of_memory
from workers.generation.model_runner import MicroBatch, ModelRunner
from workers.generation.prefill import Prefill
from workers.generation.sequences import DecodeSequence, TokenLogprobs

MOST_PREFILLS = 4
"""Groups of sequences whose prompts are read at a time, a piece of one after a piece of another."""

SequenceEvents = tuple[DecodeSequence, list[GenerationEvent]]

FAILED = "generation failed; the worker's log says why"
NO_ROOM = "the worker's memory has no room for this beside the answers that are under way; send it again later"

log = structlog.get_logger(__name__)


class RunningBatch:
    """Decodes sequences with the shared `decoder`. Belongs to one thread; the model is not written to.

    A sequence that cannot go on ends with an ErrorEvent; the others do not notice.
    `frame_of` makes of the matrices of each sequence the frame that they are run in.
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
        self.sequences: list[DecodeSequence] = []
        self._model_runner = ModelRunner(decoder, frame_of)
        self._micro_batches: list[MicroBatch] = []
        self._cache: KeyValueCache | None = None
        self._prefills: deque[Prefill] = deque()

    def close(self) -> None:
        """End the threads that ran the model; where sequences go on after all, they are begun anew."""
        self._model_runner.close()

    @property
    def is_prefilling(self) -> bool:
        """Whether sequences that joined have prompts that are not read to their end."""
        return bool(self._prefills)

    @property
    def accepts_prefills(self) -> bool:
        """Whether others may join: so many groups take turns that a long prompt does not keep short ones waiting."""
        return len(self._prefills) < MOST_PREFILLS

    @property
    def all_sequences(self) -> list[DecodeSequence]:
        """All sequences, also those whose prompts are being read."""
        return [*self.sequences, *(sequence for prefill in self._prefills for sequence in prefill.sequences)]

    def slot_bytes(self) -> int:
        """Bytes of one cache slot: keys and values of one token in all layers."""
        config = self.decoder.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 2 * len(self.decoder.layers) * int(heads) * int(size) * self.decoder.dtype.itemsize

    def join(self, sequences: Sequence[DecodeSequence]) -> list[SequenceEvents]:
        """Let a group of sequences in, whose prompts `prefill` then reads together; why not, where it cannot."""
        try:
            self._prefills.append(Prefill(self.decoder, sequences, self._model_runner))
        except Exception as error:
            return _refused(sequences, error)
        return []

    @torch.inference_mode()
    def prefill(self) -> list[SequenceEvents]:
        """One piece of the prompts of a group that joined, the groups by turns; after its last one its first tokens."""
        if not self._prefills:
            return []
        prefill = self._prefills.popleft()
        try:
            prefill.step()
            if not prefill.is_finished:
                self._prefills.append(prefill)
                return []
            logits, prompt_logprobs = prefill.outcome(prefill.sequences)
        except Exception as error:
            return _refused(prefill.sequences, error)
        events = self._advance(prefill.sequences, logits, prompt_logprobs)
        unfinished = [sequence for sequence in prefill.sequences if not sequence.is_finished]
        try:
            self._append_prefilled(prefill, unfinished)
        except Exception as error:
            # What they have said by now is not told: their requests end with an error.
            ended = [(sequence, own_events) for sequence, own_events in events if sequence.is_finished]
            return ended + _refused(unfinished, error)
        return events

    @torch.inference_mode()
    def step(self) -> list[SequenceEvents]:
        """One more token for every sequence; sequences that are done leave."""
        if not self.sequences:
            return []
        assert self._cache is not None
        device = self.decoder.device
        tokens = torch.tensor([[sequence.last_token] for sequence in self.sequences], device=device)
        positions = torch.tensor([[sequence.length - 1] for sequence in self.sequences], device=device)
        self._cache.extend(torch.ones(len(self.sequences), 1, dtype=torch.bool, device=device))
        events = self._advance(
            self.sequences, self._model_runner.logits(tokens, positions, self._cache, self._micro_batches)
        )
        self.leave(lambda sequence: sequence.is_finished)
        return events

    def leave(self, which: Callable[[DecodeSequence], bool]) -> None:
        """Take sequences out and free their cache."""
        for prefill in self._prefills:
            # Their prompts go on being read beside those of the others: that is a few pieces, and nothing is moved.
            prefill.sequences = [sequence for sequence in prefill.sequences if not which(sequence)]
        self._prefills = deque(prefill for prefill in self._prefills if prefill.sequences)
        remaining = [number for number, sequence in enumerate(self.sequences) if not which(sequence)]
        if len(remaining) == len(self.sequences):
            return
        self.sequences = [self.sequences[number] for number in remaining]
        self._micro_batches = self._model_runner.micro_batches([sequence.matrices for sequence in self.sequences])
        if not self.sequences:
            self._cache = None
        elif self._cache is not None:
            self._cache.select(remaining)

    def _append_prefilled(self, prefill: Prefill, unfinished: Sequence[DecodeSequence]) -> None:
        """Sequences that have more to say after their first tokens. Where it raises, the others are as they were."""
        if not unfinished:
            return
        sequences = [*self.sequences, *unfinished]
        micro_batches = self._model_runner.micro_batches([sequence.matrices for sequence in sequences])
        cache = prefill.cache_of(unfinished)
        if self._cache is None:
            self._cache = cache
        else:
            self._cache.merge(cache)
        self.sequences, self._micro_batches = sequences, micro_batches

    def _advance(
        self,
        sequences: Sequence[DecodeSequence],
        logits: Tensor,
        prompt_logprobs: Sequence[Sequence[TokenLogprobs]] | None = None,
    ) -> list[SequenceEvents]:
        """What each of `sequences` says to its `logits` (sequences, vocabulary); first its prompt's log-probabilities,
        where it asked."""
        # Once for all sequences: a GPU is waited for with each number that is asked of it.
        highest, best = (maxima.tolist() for maxima in logits.max(-1))
        sequence_events = []
        for number, sequence in enumerate(sequences):
            try:
                own_logprobs = (
                    prompt_logprobs[number] if prompt_logprobs is not None and sequence.request.tells_prompts else None
                )
                sequence_events.append(
                    (sequence, self._advance_one(sequence, logits[number], best[number], highest[number], own_logprobs))
                )
            except Exception:
                log.exception("a row failed", request=sequence.request.id, version=sequence.request.version)
                sequence_events.append((sequence, sequence.fail(FAILED)))
        return sequence_events

    def _advance_one(
        self,
        sequence: DecodeSequence,
        logits: Tensor,
        best: int,
        highest: float,
        prompt_logprobs: Sequence[TokenLogprobs] | None,
    ) -> list[GenerationEvent]:
        # The highest is NaN or infinite where any is that can come of a version whose numbers overflow.
        if not math.isfinite(highest) or any(math.isnan(value) for value, _ in prompt_logprobs or ()):
            log.error("logits are not finite", request=sequence.request.id, version=sequence.request.version)
            return sequence.fail(
                f"v{sequence.request.version} computes numbers that are not finite here (in {self.decoder.dtype}), so "
                "that there is no next token; ask for another version"
            )
        events: list[GenerationEvent] = [] if prompt_logprobs is None else [sequence.prompt_event(prompt_logprobs)]
        return events + sequence.advance(logits, best, self.end_tokens)


def _refused(sequences: Sequence[DecodeSequence], error: Exception) -> list[SequenceEvents]:
    """Sequences that could not join end; those before them go on. Call it where `error` was caught."""
    if is_out_of_memory(error):
        log.warning("no memory for rows that would join; the others go on", rows=len(sequences), error=str(error))
        return [(sequence, sequence.fail(NO_ROOM, 503, "out_of_memory")) for sequence in sequences]
    log.exception("rows cannot join", rows=len(sequences))
    return [(sequence, sequence.fail(FAILED)) for sequence in sequences]
