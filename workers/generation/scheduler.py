"""Scheduler: of the requests that wait, whose sequences join the batch next, and which of them fit in the cache."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from configuration.redis.generation_messages import GenerationRequest
from editing.model.projection import Matrices
from workers.generation.prefill import PREFILL_TOKENS
from workers.generation.running_batch import RunningBatch
from workers.generation.sequences import DecodeSequence
from workers.generation.version_loader import VersionLoader, VersionUnavailable

MOST_SEQUENCES = 32
MOST_UNREADY = 256
"""Requests that wait for their versions to be ready, at most: they cost little, and keep nobody else from a place."""


@dataclass
class _WaitingRequest:
    request: GenerationRequest
    choices: int
    admitted: int = 0
    is_unready: bool = False


class Scheduler:
    """Whoever has the fewest sequences in the batch is next, so that a request of many choices holds nobody up.

    One that does not fit is not overtaken: it would wait for ever behind smaller ones. One whose version is being made
    ready is.
    """

    def __init__(
        self, batch: RunningBatch, version_loader: VersionLoader, kv_cache_bytes: int, most_versions: int
    ) -> None:
        self._batch = batch
        self._version_loader = version_loader
        self._kv_cache_bytes = kv_cache_bytes
        self._most_versions = most_versions
        self._waiting: dict[str, _WaitingRequest] = {}
        self._is_blocked = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: GenerationRequest) -> None:
        self._waiting[request.id] = _WaitingRequest(request, len(request.prompts) * request.n)

    def drop(self, request_id: str) -> None:
        self._waiting.pop(request_id, None)

    def clear(self) -> None:
        self._waiting.clear()
        self._is_blocked = False

    @property
    def claimable(self) -> int:
        """How many more requests may be claimed: what cannot begin here stays on the stream, for other workers."""
        if self._is_blocked:
            return 0
        unready = sum(waiting.is_unready for waiting in self._waiting.values())
        untouched = sum(waiting.admitted == 0 and not waiting.is_unready for waiting in self._waiting.values())
        return max(0, min(MOST_SEQUENCES - len(self._batch.all_sequences) - untouched, MOST_UNREADY - unready))

    def schedule(self) -> tuple[list[DecodeSequence], list[tuple[GenerationRequest, str]]]:
        """The sequences to join next, whose prompts are read together; and requests whose version cannot be served,
        why."""
        running_sequences = self._batch.all_sequences
        running_by_request = Counter(sequence.request.id for sequence in running_sequences)
        versions: dict[int, Matrices] = {sequence.request.version: sequence.matrices for sequence in running_sequences}
        budget = _AdmissionBudget(self._batch.slot_bytes(), self._kv_cache_bytes, running_sequences)
        sequences: list[DecodeSequence] = []
        refused: list[tuple[GenerationRequest, str]] = []
        skipped: set[str] = set()
        self._is_blocked = False
        while len(running_sequences) + len(sequences) < MOST_SEQUENCES:
            candidates = [waiting for waiting in self._waiting.values() if waiting.request.id not in skipped]
            if not candidates:
                break
            waiting = min(
                candidates, key=lambda waiting: running_by_request[waiting.request.id]
            )  # of several the one that came first
            request = waiting.request
            if request.version not in versions and len(versions) >= self._most_versions:
                self._is_blocked = waiting.admitted == 0
                break
            try:
                matrices = self._matrices(request.version, versions)
            except VersionUnavailable as error:
                refused += self._drop_unservable(request.version, str(error))
                continue
            waiting.is_unready = matrices is None
            if matrices is None:
                skipped.add(request.id)
                continue
            if not budget.admits(request, waiting.admitted // request.n):
                self._is_blocked = waiting.admitted == 0 and not sequences
                break
            versions[request.version] = matrices
            sequences.append(DecodeSequence(request, waiting.admitted, matrices, self._batch.tokenizer))
            running_by_request[request.id] += 1
            waiting.admitted += 1
            if waiting.admitted == waiting.choices:
                self.drop(request.id)
        self._version_loader.keep_only({waiting.request.version for waiting in self._waiting.values()})
        return sequences, refused

    def _drop_unservable(self, version: int, reason: str) -> list[tuple[GenerationRequest, str]]:
        """All requests that wait for a version that cannot be served; they wait no longer."""
        unservable = [waiting.request for waiting in self._waiting.values() if waiting.request.version == version]
        for request in unservable:
            self.drop(request.id)
        return [(request, reason) for request in unservable]

    def _matrices(self, version: int, present: dict[int, Matrices]) -> Matrices | None:
        """Those of the batch where it has the version, so that no matrix is multiplied twice. None: not ready yet."""
        if version in present:
            return present[version]
        loading = self._version_loader.versions
        if version not in loading and len(loading) >= self._most_versions:
            return None
        return self._version_loader.get(version)


class _AdmissionBudget:
    """What a group of sequences may take: of the cache as much as they may come to need, and one piece of a prefill."""

    def __init__(self, slot_bytes: int, kv_cache_bytes: int, running_sequences: list[DecodeSequence]) -> None:
        self._slots = kv_cache_bytes // slot_bytes
        self._sequences = len(running_sequences)
        self._widest = max((sequence.most_tokens for sequence in running_sequences), default=0)
        self._prompts: set[tuple[str, int]] = set()
        self._longest = 0

    def admits(self, request: GenerationRequest, prompt: int) -> bool:
        """Whether one more choice of that prompt fits, which it then does. One always fits when nothing else runs."""
        length = len(request.prompts[prompt])
        widest = max(self._widest, length + request.max_tokens)
        if self._sequences and (self._sequences + 1) * widest > self._slots:
            return False
        prompts, longest = self._prompts | {(request.id, prompt)}, max(self._longest, length)
        if self._prompts and len(prompts) * longest > PREFILL_TOKENS:
            return False
        self._sequences, self._widest, self._prompts, self._longest = self._sequences + 1, widest, prompts, longest
        return True
