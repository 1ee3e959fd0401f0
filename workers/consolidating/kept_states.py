"""Finds the states that the facts of a consolidation were optimised for, in the deltas of the lineage that it is of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from api_schemas.facts import subject_key
from editing.methods import EditSettings
from editing.progress import ShouldStop, check
from editing.solve.consolidating import holds_at_base, is_read_bare
from editing.values.facts import SubjectGroup
from store.blobs.deltas import unpack_delta
from store.errors import BlobCorruptError, BlobMissingError
from store.lineage import versions as lineage
from store.lineage.fact_pages import read_lineage, stored_facts
from store.lineage.questions import is_removed
from store.schema.tables import BatchRow, VersionRow
from store.work import batches
from store.work.consolidation import source_of
from workers.context import WorkerContext

log = structlog.get_logger(__name__)


def kept_states(
    context: WorkerContext,
    batch: BatchRow,
    groups: Sequence[SubjectGroup],
    settings: EditSettings,
    should_stop: ShouldStop,
) -> dict[int, NDArray[Any]]:
    """By the number of a group its state z (d_out,), for those that need no optimisation.

    A group keeps its state where one edit was made of exactly its facts, by the method of the consolidation and with
    the same last layer, over a version that the base is like in the layers above; and where no fact about its subject
    was taken out, which a state that was found on top of it may still tell. Blobs that are missing or damaged, or of
    releases that kept no states, keep none.
    """
    assert batch.consolidates is not None
    last = max(settings.layers)
    with context.database.reading() as session:
        sources = [source_of(origin) for origin in batches.origins(session, batch.id)]
        ancestry = {row.batch_id: row for row in lineage.ancestry(session, batch.model, batch.consolidates)}
        edited_before = _layers_edited_before(ancestry.values())
        told = _reverted_subjects(session, batch.model, batch.consolidates)
    candidates: dict[str, dict[tuple[int, ...], int]] = {}
    for number, group in enumerate(groups):
        places = [sources[fact.index] for fact in group.facts]
        edits = {edit for edit, _ in places}
        if len(edits) == 1 and is_read_bare(group, settings.context_texts):
            (edit,) = edits
            version = ancestry[edit]
            if (
                version.algorithm == batch.algorithm
                and max(version.layers) == last
                and holds_at_base(context.model.decoder, edited_before[version.number], last)
                and told.get(subject_key(group.facts[0].fact.subject), version.number) >= version.number
                and told.get(None, version.number) >= version.number
            ):
                candidates.setdefault(edit, {})[tuple(sorted(index for _, index in places))] = number
    kept: dict[int, NDArray[Any]] = {}
    for edit, members in candidates.items():
        check(should_stop, "reading what the facts in force were optimised for")
        for facts, state in _states_of(context, ancestry[edit], last).items():
            if facts in members:
                kept[members[facts]] = state
    return dict(sorted(kept.items()))


def _layers_edited_before(ancestry: Iterable[VersionRow]) -> dict[int, set[int]]:
    """By version, eldest first, the layers in which its parent differs from the base."""
    found: dict[int, set[int]] = {}
    so_far: set[int] = set()
    for version in ancestry:
        found[version.number] = set(so_far)
        so_far |= set(version.layers)
    return found


def _reverted_subjects(session: Session, model: str, number: int) -> Mapping[str | None, int]:
    """By subject the first version that said a fact about it which was taken out since; None stands for all subjects,
    where the texts of such a fact were removed."""
    line = read_lineage(session, model, number)
    places = [line.place(edit, index) for edit, index in line.reverted]
    found: dict[str | None, int] = {}
    for (edit, _), fact in stored_facts(session, places).items():
        subject = None if is_removed(fact) else subject_key(fact["subject"])
        version = line.edits[edit].version
        found[subject] = min(version, found.get(subject, version))
    return found


def _states_of(context: WorkerContext, version: VersionRow, layer: int) -> dict[tuple[int, ...], NDArray[Any]]:
    """By the facts (indices) of a column the state (d_out,) that was wanted after `layer`; empty where none is kept."""
    if version.blob is None:
        return {}
    try:
        layers, header = unpack_delta(context.blobs.get(version.blob), context.model.fingerprint)
    except (BlobMissingError, BlobCorruptError) as error:
        log.warning("states cannot be read; they are optimised for again", version=version.number, error=str(error))
        return {}
    wanted = layers[layer].wanted if layer in layers else None
    if wanted is None:
        return {}
    return {tuple(sorted(facts)): wanted[:, column] for column, facts in enumerate(header.get("groups", ()))}
