"""Gives the edited matrices of versions, bit for bit what was published, from a cache within a byte budget."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from weakref import WeakValueDictionary

import structlog
from torch import Tensor

from editing.model.decoder import Decoder
from store.blobs.blob_store import BlobStore
from store.errors import BlobCorruptError, BlobMissingError
from store.lineage import versions as lineage
from store.lineage.versions import EXACT_LAYERS
from store.schema.database import Database
from store.schema.tables import VersionRow
from workers.metrics import MATRIX_CACHE_BYTES
from workers.weights.delta_reader import DeltaReader
from workers.weights.deltas import LayerDelta, unpack_matrices
from workers.weights.matrix_bits import matrix_hash
from workers.weights.running_sums import RunningSums, cast

_SHARE_OF_SUMS = 2
"""One part of so many of the budget may hold sums in float64; what they do not need is for matrices."""

log = structlog.get_logger(__name__)


class MatrixCache:
    """The edited matrices of versions, made when first asked for, within a byte budget. Safe between threads.

    The recorded matrices are read where the store has them; those that retention dropped, or that are damaged, are
    added up from the lineage. Every matrix is checked against the hash that was recorded at publish; a version that
    cannot be had raises a BlobError. Versions share the tensors of layers in which they do not differ.
    """

    def __init__(
        self, model: str, decoder: Decoder, fingerprint: str, database: Database, blobs: BlobStore, budget_bytes: int
    ) -> None:
        self.model = model
        self.decoder = decoder
        self.fingerprint = fingerprint
        self.database = database
        self.blobs = blobs
        self.budget_bytes = budget_bytes
        self.reader = DeltaReader(model, fingerprint, database, blobs)
        self.sums = RunningSums(decoder, self.reader, budget_bytes // _SHARE_OF_SUMS)
        self._shared: WeakValueDictionary[str, Tensor] = WeakValueDictionary()
        self._cached: OrderedDict[int, dict[int, Tensor]] = OrderedDict()
        self._lock = threading.Lock()
        self._locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

    def get(self, number: int) -> dict[int, Tensor]:
        """Layer → matrix of every edited layer; empty for v0. The tensors are never written to.

        A version that is not held is made by the first thread that asks; others that ask for it wait, and nobody who
        asks for another does.
        """
        cached = self.cached(number)
        if cached is not None:
            return cached
        with self._lock:
            lock = self._locks[number]
        with lock:
            cached = self.cached(number)
            if cached is not None:
                return cached
            matrices = self._materialise_and_mark(number)
            self.put(number, matrices)
            return matrices

    def cached(self, number: int) -> dict[int, Tensor] | None:
        """What `get` gives, where that takes no time."""
        if number == 0:
            return {}
        with self._lock:
            if number in self._cached:
                self._cached.move_to_end(number)
            return self._cached.get(number)

    def put(self, number: int, matrices: dict[int, Tensor]) -> None:
        """Hold matrices that were just published or made, so that serving them costs nothing."""
        with self._lock:
            self._insert(number, matrices)

    def deltas(self, number: int) -> Iterator[dict[int, LayerDelta]]:
        """The deltas of a version's lineage, eldest first; each is read when it is asked for."""
        return self.reader.each(number)

    def _materialise_and_mark(self, number: int) -> dict[int, Tensor]:
        """The matrices; where they cannot be had, the version says so until they can be again."""
        with self.database.reading() as session:
            row = lineage.get(session, self.model, number)
        try:
            matrices = self._materialise(row)
        except (BlobMissingError, BlobCorruptError):
            self.reader.set_state(number, "unavailable")
            raise
        self.reader.set_state(number, "available")
        return matrices

    def _materialise(self, row: VersionRow) -> dict[int, Tensor]:
        """The recorded matrices, and the sums of those that are not there. Its own delta must be whole."""
        self.reader.read(_as_step(row))
        recorded, problem = self._recorded(row)
        missing = [layer for layer in sorted(map(int, row.matrix_hashes)) if layer not in recorded]
        if not missing:
            return recorded
        try:
            return {**recorded, **self._added_up(row, missing)}
        except (BlobMissingError, BlobCorruptError) as error:
            if problem is None:
                raise
            raise problem from error

    def _recorded(self, row: VersionRow) -> tuple[dict[int, Tensor], BlobMissingError | BlobCorruptError | None]:
        """The matrices that the store has, by layer, and what is wrong with one that it should have."""
        names: dict[str, list[int]] = defaultdict(list)
        for layer in sorted(map(int, row.matrix_hashes)):
            blob = (row.matrix_blobs or {}).get(str(layer)) or row.matrices_blob
            if blob is not None:
                names[blob].append(layer)
        found: dict[int, Tensor] = {}
        problem: BlobMissingError | BlobCorruptError | None = None
        for blob, layers in names.items():
            shared = {layer: self._shared.get(row.matrix_hashes[str(layer)]) for layer in layers}
            found |= {layer: matrix for layer, matrix in shared.items() if matrix is not None}
            try:
                found |= self._fetch(row, blob, [layer for layer in layers if layer not in found])
            except (BlobMissingError, BlobCorruptError) as error:
                log.warning("recorded matrices cannot be had; adding up", version=row.number, error=str(error))
                problem = error
        return found, problem

    def _fetch(self, row: VersionRow, blob: str, layers: Sequence[int]) -> dict[int, Tensor]:
        if not layers:
            return {}
        try:
            stored = unpack_matrices(self.blobs.get(blob), self.decoder.dtype)
        except (BlobMissingError, BlobCorruptError) as error:
            raise type(error)(f"version v{row.number} of {self.model} cannot be served: {error}") from error
        fetched = {layer: stored[layer].to(self.decoder.device) for layer in layers if layer in stored}
        self._check(row, fetched, layers)
        return fetched

    def _added_up(self, row: VersionRow, layers: Sequence[int]) -> dict[int, Tensor]:
        """`layers` from the deltas of the lineage; those of versions made with rounded products as they were made."""
        projections = self.decoder.projections
        sums = self.sums.at(row.number)
        made = {layer: cast(projections[layer], sums[layer]) for layer in layers if layer in sums}
        exact = row.provenance.get(EXACT_LAYERS, ())
        rounded = [
            layer
            for layer, matrix in made.items()
            if layer not in exact and matrix_hash(matrix) != row.matrix_hashes[str(layer)]
        ]
        if rounded:
            totals = self.sums.rounded(row.number, rounded)
            made |= {layer: cast(projections[layer], total) for layer, total in totals.items()}
        self._check(row, made, layers)
        return made

    def _check(self, row: VersionRow, matrices: dict[int, Tensor], layers: Sequence[int]) -> None:
        """Raises BlobCorruptError unless `matrices` has the published one of each of `layers`."""
        for layer in layers:
            published = row.matrix_hashes.get(str(layer))
            if layer not in matrices or matrix_hash(matrices[layer]) != published:
                raise BlobCorruptError(f"version v{row.number} of {self.model}: layer {layer} does not match its hash")
            self._shared[published] = matrices[layer]

    def _insert(self, number: int, matrices: dict[int, Tensor]) -> None:
        self._cached[number] = matrices
        self._cached.move_to_end(number)
        while len(self._cached) > 1 and self._bytes() > self.budget_bytes:
            self._cached.popitem(last=False)
        MATRIX_CACHE_BYTES.labels(self.model).set(self._bytes())

    def _bytes(self) -> int:
        tensors = {id(tensor): tensor.nbytes for held in self._cached.values() for tensor in held.values()}
        return sum(tensors.values()) + self.sums.held_bytes()


def _as_step(row: VersionRow) -> lineage.Step:
    assert row.parent is not None, "the base has no matrices of its own"
    return lineage.Step(row.number, row.parent, row.blob)
