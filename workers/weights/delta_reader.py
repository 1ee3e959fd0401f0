"""Reads the deltas of a lineage one at a time, and marks a version whose delta cannot be read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from api_schemas.models import VersionState
from store.blobs.blob_store import BlobStore
from store.blobs.deltas import CHANGE, read_delta
from store.errors import BlobCorruptError, BlobError, BlobMissingError
from store.lineage import versions as lineage
from store.schema.database import Database
from store.schema.tables import VersionRow
from workers.weights.deltas import LayerDelta, read_deltas, unpack_deltas

_OPPOSITE: Final = {"available": "unavailable", "unavailable": "available"}
"""States that a worker may find out; others are decided by people."""

log = structlog.get_logger(__name__)


class DeltaReader:
    """The deltas of one model's versions."""

    def __init__(self, model: str, fingerprint: str, database: Database, blobs: BlobStore) -> None:
        self.model = model
        self.fingerprint = fingerprint
        self.database = database
        self.blobs = blobs

    def above(self, number: int, held: Collection[int] = ()) -> list[lineage.Step]:
        """The lineage of `number` from the nearest ancestor among `held`, or from the base, eldest first."""
        with self.database.reading() as session:
            return lineage.steps_above(session, self.model, number, held)

    def each(self, number: int) -> Iterator[dict[int, LayerDelta]]:
        """The deltas of a version's lineage, eldest first, each read when it is asked for."""
        for step in self.above(number):
            yield self.read(step)

    def read(self, step: lineage.Step) -> dict[int, LayerDelta]:
        """All of a version's delta. Raises BlobError naming the version where it is not what its name says."""
        with self.naming_version(step.number):
            return unpack_deltas(self.blobs.get(self._blob(step)), self.fingerprint)

    def read_change(self, step: lineage.Step) -> dict[int, LayerDelta]:
        """Only what the delta adds to matrices; a changed byte in it is for the caller to notice."""
        with self.naming_version(step.number):
            return read_deltas(self.blobs, self._blob(step), self.fingerprint, parts=CHANGE)

    def header(self, row: VersionRow) -> dict[str, Any]:
        """What is said of a version's delta in its blob, of which nothing else is read. Raises BlobError."""
        if row.blob is None:
            raise BlobCorruptError(f"version v{row.number} of {self.model} names no blob")
        return read_delta(self.blobs, row.blob, self.fingerprint, parts=())[1]

    def _blob(self, step: lineage.Step) -> str:
        if step.blob is None:
            raise BlobCorruptError(f"version v{step.number} of {self.model} names no blob")
        return step.blob

    @contextmanager
    def naming_version(self, number: int) -> Iterator[None]:
        """Say of a BlobError which version it keeps from being served."""
        try:
            yield
        except BlobError as error:
            if isinstance(error, BlobMissingError | BlobCorruptError):
                self.set_state(number, "unavailable")
            named = f"version v{number} of {self.model}"
            raise type(error)(str(error) if named in str(error) else f"{named} cannot be served: {error}") from error

    def set_state(self, number: int, state: VersionState) -> None:
        with self.database.reading() as session:
            row = session.get(VersionRow, (self.model, number))
            if row is None or row.state not in _OPPOSITE or row.state == state:  # deleted, or said already
                return
        with self.database.writing() as session:
            row = session.get(VersionRow, (self.model, number))
            if row is not None and row.state == _OPPOSITE[state]:
                row.state = state
        log.warning("a version changed its state", version=number, state=state)
