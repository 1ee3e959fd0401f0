"""Claimed requests whose choices are not all in the batch yet: whose turn it is, and what still fits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from configuration.redis.generation_messages import GenerationRequest
from editing.model.projection import Matrices
from workers.generation.decoding import DecodeBatch
from workers.generation.prefill import PREFILL_TOKENS
from workers.generation.preparation import Preparation, VersionUnavailable
from workers.generation.rows import Row

MOST_ROWS = 32
MOST_UNREADY = 256
"""Requests that wait for their versions to be ready, at most: they cost little, and keep nobody else from a place."""


@dataclass
class _Waiting:
    request: GenerationRequest
    choices: int
    admitted: int = 0
    is_unready: bool = False


class WaitingRequests:
    """Whoever has the fewest rows in the batch is next, so that a request of many choices holds nobody up.

    One that does not fit is not overtaken: it would wait for ever behind smaller ones. One whose version is being made
    ready is.
    """

    def __init__(self, batch: DecodeBatch, preparation: Preparation, kv_cache_bytes: int, most_versions: int) -> None:
        self._batch = batch
        self._preparation = preparation
        self._kv_cache_bytes = kv_cache_bytes
        self._most_versions = most_versions
        self._waiting: dict[str, _Waiting] = {}
        self._is_stuck = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: GenerationRequest) -> None:
        self._waiting[request.id] = _Waiting(request, len(request.prompts) * request.n)

    def drop(self, request_id: str) -> None:
        self._waiting.pop(request_id, None)

    def clear(self) -> None:
        self._waiting.clear()
        self._is_stuck = False

    @property
    def room(self) -> int:
        """How many more requests may be claimed: what cannot begin here stays on the stream, for other workers."""
        if self._is_stuck:
            return 0
        unready = sum(waiting.is_unready for waiting in self._waiting.values())
        untouched = sum(waiting.admitted == 0 and not waiting.is_unready for waiting in self._waiting.values())
        return max(0, min(MOST_ROWS - len(self._batch.members) - untouched, MOST_UNREADY - unready))

    def next_rows(self) -> tuple[list[Row], list[tuple[GenerationRequest, str]]]:
        """The rows to join next, whose prompts are read together; and requests whose version cannot be served, why."""
        members = self._batch.members
        held = Counter(row.request.id for row in members)
        versions: dict[int, Matrices] = {row.request.version: row.matrices for row in members}
        room = _Room(self._batch.slot_bytes(), self._kv_cache_bytes, members)
        rows: list[Row] = []
        refused: list[tuple[GenerationRequest, str]] = []
        passed: set[str] = set()
        self._is_stuck = False
        while len(members) + len(rows) < MOST_ROWS:
            open_ones = [waiting for waiting in self._waiting.values() if waiting.request.id not in passed]
            if not open_ones:
                break
            waiting = min(open_ones, key=lambda one: held[one.request.id])  # of several the one that came first
            request = waiting.request
            if request.version not in versions and len(versions) >= self._most_versions:
                self._is_stuck = waiting.admitted == 0
                break
            try:
                matrices = self._matrices(request.version, versions)
            except VersionUnavailable as error:
                refused += self._refused(request.version, str(error))
                continue
            waiting.is_unready = matrices is None
            if matrices is None:
                passed.add(request.id)
                continue
            if not room.takes(request, waiting.admitted // request.n):
                self._is_stuck = waiting.admitted == 0 and not rows
                break
            versions[request.version] = matrices
            rows.append(Row(request, waiting.admitted, matrices, self._batch.tokenizer))
            held[request.id] += 1
            waiting.admitted += 1
            if waiting.admitted == waiting.choices:
                self.drop(request.id)
        self._preparation.keep_only({waiting.request.version for waiting in self._waiting.values()})
        return rows, refused

    def _refused(self, version: int, reason: str) -> list[tuple[GenerationRequest, str]]:
        """All requests that wait for a version that cannot be served; they wait no longer."""
        found = [waiting.request for waiting in self._waiting.values() if waiting.request.version == version]
        for request in found:
            self.drop(request.id)
        return [(request, reason) for request in found]

    def _matrices(self, version: int, present: dict[int, Matrices]) -> Matrices | None:
        """Those of the batch where it has the version, so that no matrix is multiplied twice. None: not ready yet."""
        if version in present:
            return present[version]
        preparing = self._preparation.versions
        if version not in preparing and len(preparing) >= self._most_versions:
            return None
        return self._preparation.get(version)


class _Room:
    """What a group of rows may take: of the cache as much as they may come to need, and one piece of reading."""

    def __init__(self, slot_bytes: int, budget: int, members: list[Row]) -> None:
        self._slots = budget // slot_bytes
        self._rows = len(members)
        self._widest = max((row.most_tokens for row in members), default=0)
        self._prompts: set[tuple[str, int]] = set()
        self._longest = 0

    def takes(self, request: GenerationRequest, prompt: int) -> bool:
        """Whether one more choice of that prompt fits, which it then does. One always fits when nothing else runs."""
        length = len(request.prompts[prompt])
        widest = max(self._widest, length + request.max_tokens)
        if self._rows and (self._rows + 1) * widest > self._slots:
            return False
        prompts, longest = self._prompts | {(request.id, prompt)}, max(self._longest, length)
        if self._prompts and len(prompts) * longest > PREFILL_TOKENS:
            return False
        self._rows, self._widest, self._prompts, self._longest = self._rows + 1, widest, prompts, longest
        return True
