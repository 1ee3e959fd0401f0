"""Materialises versions: base plus the deltas of their lineage, bit for bit, in a cache within a byte budget."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog
import torch
from torch import Tensor

from api_schemas.models import VersionState
from editing.model.decoder import Decoder
from editing.model.projection import EditableProjection
from store.blobs.blob_store import BlobStore
from store.errors import BlobCorruptError, BlobError, BlobMissingError
from store.lineage import versions as lineage
from store.schema.database import Database
from store.schema.tables import VersionRow
from workers.metrics import MATRIX_CACHE_BYTES
from workers.weights.deltas import LayerDelta, unpack_deltas, unpack_matrices

_OPPOSITE: Final = {"available": "unavailable", "unavailable": "available"}
"""States that a worker may find out; others are decided by people."""

log = structlog.get_logger(__name__)


def sum_deltas(projection: EditableProjection, deltas: Sequence[LayerDelta]) -> Tensor:
    """Base plus `deltas` in their order: accumulated in float64, cast once, in the module's layout.

    Going back to a version gives the very same bits, since nothing is ever subtracted.
    """
    weight = projection.weight.detach()
    total = weight.double().T.clone() if projection.transposed else weight.double().clone()
    for delta in deltas:
        total += delta.delta().to(total.device)
    return (total.T if projection.transposed else total).to(weight.dtype).contiguous()


def matrix_hash(matrix: Tensor) -> str:
    """SHA-256 over dtype, shape and bytes of a matrix in its module's layout."""
    digest = hashlib.sha256(f"{matrix.dtype} {tuple(matrix.shape)}\n".encode())
    digest.update(matrix.detach().contiguous().view(torch.uint8).cpu().numpy().tobytes())
    return digest.hexdigest()


class MatrixCache:
    """The edited matrices of versions, made when first asked for, within a byte budget. Safe between threads.

    Every matrix is checked against the hash that was recorded at publish. Where adding up gives other bits (another
    kind of machine), or where the delta of an earlier version is damaged, the recorded matrices are fetched instead; a
    version that cannot be had raises a BlobError.
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

    def deltas(self, number: int) -> list[dict[int, LayerDelta]]:
        """The deltas of a version's lineage, eldest first."""
        with self.database.reading() as session:
            ancestry = lineage.ancestry(session, self.model, number)
        return [self._delta(row) for row in ancestry]

    def _delta(self, row: VersionRow) -> dict[int, LayerDelta]:
        if row.blob is None:
            raise BlobCorruptError(f"version v{row.number} of {self.model} names no blob")
        with self._naming_version(row):
            return unpack_deltas(self.blobs.get(row.blob), self.fingerprint)

    def _materialise_and_mark(self, number: int) -> dict[int, Tensor]:
        """The matrices made anew; where they cannot be, the version says so until they can be again."""
        try:
            matrices, whole = self._materialise(number)
        except (BlobMissingError, BlobCorruptError):
            self._set_state(number, "unavailable")
            raise
        with self.database.reading() as session:
            ancestry = lineage.ancestry(session, self.model, number)
        for row in ancestry if whole else ancestry[-1:]:  # what each of them is made of was read just now
            if row.state == "unavailable":
                self._set_state(row.number, "available")
        return matrices

    def _set_state(self, number: int, state: VersionState) -> None:
        with self.database.reading() as session:
            row = session.get(VersionRow, (self.model, number))
            if row is None or row.state not in _OPPOSITE or row.state == state:  # deleted, or said already
                return
        with self.database.writing() as session:
            row = session.get(VersionRow, (self.model, number))
            if row is not None and row.state == _OPPOSITE[state]:
                row.state = state
        log.warning("a version changed its state", version=number, state=state)

    def _materialise(self, number: int) -> tuple[dict[int, Tensor], bool]:
        """The matrices, and whether all of the lineage was read for them."""
        with self.database.reading() as session:
            *elder, row = lineage.ancestry(session, self.model, number)
        own_delta = self._delta(row)  # only what it stands on may be damaged
        try:
            lineage_deltas = [*map(self._delta, elder), own_delta]
        except (BlobMissingError, BlobCorruptError) as error:
            if row.matrices_blob is None:
                raise
            log.warning("the lineage cannot be added up; fetching the matrices", version=number, error=str(error))
            return self._fetch(row, sorted(map(int, row.matrix_hashes))), False
        materialised: dict[int, Tensor] = {}
        for layer in sorted({layer for deltas in lineage_deltas for layer in deltas}):
            layer_deltas = [deltas[layer] for deltas in lineage_deltas if layer in deltas]
            materialised[layer] = sum_deltas(self.decoder.projections[layer], layer_deltas)
        mismatched = [
            layer for layer, matrix in materialised.items() if row.matrix_hashes.get(str(layer)) != matrix_hash(matrix)
        ]
        if mismatched:
            log.info("matrices differ from those published; fetching them", version=number, layers=mismatched)
            materialised |= self._fetch(row, mismatched)
        return materialised, True

    def _fetch(self, row: VersionRow, layers: Sequence[int]) -> dict[int, Tensor]:
        if row.matrices_blob is None:
            raise BlobCorruptError(f"version v{row.number} of {self.model}: its matrices do not match their hashes")
        with self._naming_version(row):
            stored = unpack_matrices(self.blobs.get(row.matrices_blob), self.decoder.dtype)
        fetched = {layer: stored[layer].to(self.decoder.device) for layer in layers if layer in stored}
        for layer in layers:
            if layer not in fetched or matrix_hash(fetched[layer]) != row.matrix_hashes.get(str(layer)):
                raise BlobCorruptError(f"version v{row.number} of {self.model}: layer {layer} does not match its hash")
        return fetched

    @contextmanager
    def _naming_version(self, row: VersionRow) -> Iterator[None]:
        """Say of a BlobError which version it keeps from being served."""
        try:
            yield
        except BlobError as error:
            if isinstance(error, BlobMissingError | BlobCorruptError):
                self._set_state(row.number, "unavailable")
            raise type(error)(f"version v{row.number} of {self.model} cannot be served: {error}") from error

    def _insert(self, number: int, matrices: dict[int, Tensor]) -> None:
        self._cached[number] = matrices
        self._cached.move_to_end(number)
        while len(self._cached) > 1 and self._bytes() > self.budget_bytes:
            self._cached.popitem(last=False)
        MATRIX_CACHE_BYTES.labels(self.model).set(self._bytes())

    def _bytes(self) -> int:
        return sum(tensor.nbytes for matrices in self._cached.values() for tensor in matrices.values())
