"""Finds the edits that a revert affects: the columns that leave each, and those to optimise again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from api_schemas.facts import subject_key
from store.lineage.facts_in_force import LineageFact
from store.lineage.versions import RestatedColumn
from workers.reverting.remaining_edit import column_of_subject


@dataclass
class AffectedEdit:
    """One edit: the columns that leave it, and for those that come back the facts (indices) that are optimised again;
    and the facts of other edits, (edit, index), that leave it with columns in which it had written them again.

    Facts that share a subject share a column: when one of them leaves, its value goes, and the others need a new one.
    So do facts about the same subject in later edits, whose values were found on top of what leaves.
    """

    leaving_columns: list[int] = field(default_factory=list)
    reoptimised: dict[int, list[int]] = field(default_factory=dict)
    restated: set[tuple[str, int]] = field(default_factory=set)


def affected_edits(
    in_lineage: Sequence[LineageFact],
    leaving: set[tuple[str, int]],
    restated: Mapping[str, Sequence[RestatedColumn]],
) -> dict[str, AffectedEdit]:
    """By edit, in the order of `in_lineage`, the lineage's facts; `leaving` are (edit, index) of the facts to take
    out, `restated` the columns after its own in which an edit wrote earlier facts again.

    Those leave with any of their facts. An edit of which nothing of its own stays leaves whole: without it the line is
    as it was before.
    """
    gone = {(fact.place.edit, fact.place.index) for fact in in_lineage if fact.reverted_by is not None}
    by_edit: dict[str, AffectedEdit] = {}
    subjects_left_so_far: set[str] = set()
    for edit, facts in _by_edit(in_lineage).items():
        groups: dict[str, list[LineageFact]] = {}
        for fact in facts:
            groups.setdefault(subject_key(fact.fact["subject"]), []).append(fact)
        affected = AffectedEdit()
        leaving_subjects: set[str] = set()
        columns = column_of_subject(facts)
        own = {(edit, fact.place.index) for fact in facts}
        for number, column in enumerate(restated.get(edit, ()), len(columns)):
            is_there = not own <= gone and gone.isdisjoint(column)
            if is_there and (own <= leaving | gone or not leaving.isdisjoint(column)):
                affected.leaving_columns.append(number)
                affected.restated |= leaving.intersection(column)
        for subject, members in groups.items():
            standing = [fact.place.index for fact in members if fact.reverted_by is None]
            staying = [index for index in standing if (edit, index) not in leaving]
            if len(staying) < len(standing):
                leaving_subjects.add(subject)
            if standing and (len(staying) < len(standing) or subject in subjects_left_so_far):
                affected.leaving_columns.append(columns[subject])
                if staying:
                    affected.reoptimised[columns[subject]] = staying
        subjects_left_so_far |= leaving_subjects
        if affected.leaving_columns:
            by_edit[edit] = affected
    return by_edit


def _by_edit(in_lineage: Sequence[LineageFact]) -> Mapping[str, list[LineageFact]]:
    by_edit: dict[str, list[LineageFact]] = {}
    for fact in in_lineage:
        by_edit.setdefault(fact.place.edit, []).append(fact)
    return by_edit
