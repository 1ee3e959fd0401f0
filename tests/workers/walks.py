"""Random walks through a store of versions: edits in line and as branches, rollbacks, reverts; then a look at all."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select

from api_schemas.references import ModelReference, version_name
from store.errors import BlobError
from store.lineage import aliases
from store.lineage import versions as lineage
from store.lineage.facts_in_force import lineage_facts
from store.schema.tables import VersionRow
from store.work import batches
from store.work.reversal import as_reverts, facts_to_revert
from tests.workers.conftest import MODEL, Loaded, Place
from workers.weights.deltas import pack_deltas, unpack_deltas
from workers.weights.matrix_bits import matrix_hash
from workers.weights.matrix_cache import MatrixCache

ANY = {"EM": 0.0, "drift": 1e9}
QUICK = {"steps": 2, "repair_rounds": 0, "contexts": 2}
REHEARSED = {**QUICK, "repair_rounds": 1, "repair_steps": 1, "layers": [1, 2]}
"""With so few steps hardly a fact is said: each batch writes again what it listens to."""


@dataclass
class Walk:
    """`steps` says what was done; `facts_of(number)` are the facts of edit `number`."""

    place: Place
    chance: random.Random
    facts_of: Callable[[int], list[dict[str, Any]]]
    settings: Sequence[dict[str, Any]] = (QUICK, {**QUICK, "layers": [1, 2]}, REHEARSED)
    edits: int = 0
    steps: list[str] = field(default_factory=list)

    def edit(self) -> None:
        """In line, or now and then on any version as a branch."""
        branch = self.chance.random() < 0.3 and self.place.versions() != []
        on = version_name(self.chance.choice([0, *self.place.versions()])) if branch else "latest"
        settings = self.chance.choice(self.settings)
        row = self.place.edit(self.facts_of(self.edits), reference=f"{MODEL}@{on}", settings=settings, thresholds=ANY)
        assert row.state == "succeeded", row.error
        self.edits += 1
        self.steps.append(f"{'branch' if branch else 'edit'} {on} → {version_name(row.version or 0)}")

    def rollback(self) -> None:
        to = self.chance.choice([0, *self.place.versions()])
        with self.place.database.writing() as session:
            aliases.put(session, MODEL, "latest", to, expected=None)
        self.steps.append(f"rollback → {version_name(to)}")

    def revert(self) -> None:
        """Some facts of any version's lineage, in line where that is where `latest` points."""
        on = self.chance.choice([0, *self.place.versions()])
        with self.place.database.reading() as session:
            standing = [one for one in lineage_facts(session, MODEL, on) if one.reverted_by is None]
        if not standing:
            return
        version = self.chance.choice(sorted({one.place.version for one in standing}))
        own = [one.place.index for one in standing if one.place.version == version]
        leaving = self.chance.sample(own, self.chance.randint(1, min(3, len(own))))
        in_line = on == self.place.latest()
        reference = ModelReference(MODEL, alias="latest") if in_line else ModelReference(MODEL, version=on)
        with self.place.database.writing() as session:
            chosen = facts_to_revert(session, MODEL, on, of=version, indices=leaving, edits=[])
            new = batches.NewBatch(
                reference, "revert", {}, dict(ANY), [one.fact for one in chosen], reverts=as_reverts(chosen)
            )
            made = batches.accept(session, new, most_queued=100)[0].id
        self.place.run()
        row = self.place.batch(made)
        assert row.state == "succeeded", row.error
        told = f"{version_name(version)}{sorted(leaving)}"
        self.steps.append(f"revert {told} on {version_name(on)} → {version_name(row.version or 0)}")

    def go(self, edits: int, between: float = 0.6) -> None:
        """Until `edits` batches of facts were published; before each, with that chance, a rollback or revert."""
        while self.edits < edits:
            while self.chance.random() < between:
                self.chance.choice((self.rollback, self.revert))()
            self.edit()

    def kinds(self) -> dict[str, int]:
        return dict(Counter(step.partition(" ")[0] for step in self.steps))


@dataclass(frozen=True)
class Looked:
    """How many matrices of how many versions were the recorded ones: added up anew, or fetched."""

    versions: int
    matrices: int
    fetched: int


class Counting(MatrixCache):
    """A cold cache that adds every version up, and counts what it has to fetch since that gave other bits."""

    fetched = 0

    def _recorded(self, row: VersionRow) -> Any:
        layers = sorted(map(int, row.matrix_hashes))
        try:
            return self._added_up(row, layers), None
        except BlobError:
            self.fetched += len(layers)
            return super()._recorded(row)


def cold(place: Place, loaded: Loaded | None = None) -> Counting:
    """What a worker begins with that has just loaded the model, or that has `loaded` of its own."""
    model = (loaded or place.loaded).model
    return Counting(MODEL, model.decoder, model.fingerprint, place.database, place.blobs, budget_bytes=1)


def look_at_all(place: Place, cache: Counting) -> Looked:
    """Every version's matrices have the hashes that were recorded when it was published."""
    matrices = 0
    numbers = place.versions()
    for number in numbers:
        found = {str(layer): matrix_hash(matrix) for layer, matrix in cache.get(number).items()}
        assert found == place.version(number).matrix_hashes, f"v{number} has other weights than were published"
        matrices += len(found)
    return Looked(len(numbers), matrices, cache.fetched)


def with_other_bits(place: Place, number: int) -> list[int]:
    """Let the delta of version `number` be somewhat different; the versions whose weights that changes."""
    row = place.version(number)
    assert row.blob is not None
    known = place.loaded.model.fingerprint
    deltas = unpack_deltas(place.blobs.get(row.blob), known)
    changed = {
        layer: replace(
            one,
            b=None if one.b is None else one.b * 1.01,
            dense=None if one.dense is None else one.dense * 1.01,
        )
        for layer, one in deltas.items()
    }
    other = place.blobs.put(pack_deltas(changed, {"fingerprint": known}))
    with place.database.writing() as session:
        lineage.get(session, MODEL, number).blob = other
    with place.database.reading() as session:
        rows = session.scalars(select(VersionRow.number).where(VersionRow.model == MODEL)).all()
        return sorted(
            one for one in rows if number in {ancestor.number for ancestor in lineage.ancestry(session, MODEL, one)}
        )


def refused(place: Place, number: int) -> str:
    """What is said of a version that cannot be had. Raises AssertionError where it can be."""
    try:
        cold(place).get(number)
    except BlobError as error:
        return str(error)
    raise AssertionError(f"v{number} was served")
