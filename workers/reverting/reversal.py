"""Which columns of which edits a revert takes out, and which it has to optimise again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from api_schemas.facts import subject_key
from store.lineage.facts_in_force import LineageFact
from workers.reverting.kept import column_of_subject


@dataclass
class Affected:
    """One edit: the columns that leave it, and for those that come back the facts (indices) that are optimised again.

    Facts that share a subject share a column: when one of them leaves, its value goes, and the others need a new one.
    So do facts about the same subject in later edits, whose values were found on top of what leaves.
    """

    out: list[int] = field(default_factory=list)
    again: dict[int, list[int]] = field(default_factory=dict)


def affected_edits(here: Sequence[LineageFact], leaving: set[tuple[str, int]]) -> dict[str, Affected]:
    """By edit, in the order of the lineage `here`; `leaving` are (edit, index) of the facts to take out."""
    found: dict[str, Affected] = {}
    gone: set[str] = set()
    for edit, facts in _by_edit(here).items():
        groups: dict[str, list[LineageFact]] = {}
        for one in facts:
            groups.setdefault(subject_key(one.fact["subject"]), []).append(one)
        affected = Affected()
        left: set[str] = set()
        columns = column_of_subject(facts)
        for subject, members in groups.items():
            standing = [one.place.index for one in members if one.reverted_by is None]
            staying = [index for index in standing if (edit, index) not in leaving]
            if len(staying) < len(standing):
                left.add(subject)
            if standing and (len(staying) < len(standing) or subject in gone):
                affected.out.append(columns[subject])
                if staying:
                    affected.again[columns[subject]] = staying
        gone |= left
        if affected.out:
            found[edit] = affected
    return found


def _by_edit(here: Sequence[LineageFact]) -> Mapping[str, list[LineageFact]]:
    found: dict[str, list[LineageFact]] = {}
    for one in here:
        found.setdefault(one.place.edit, []).append(one)
    return found
