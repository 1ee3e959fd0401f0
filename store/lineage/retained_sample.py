"""Draws a sample of the facts that a lineage says, without reading all of them.

The facts of a lineage in their order are cut into as many equal ranges as facts are wanted, and one is drawn in each:
every age has its share. What turns out to be corrected, taken out or unwanted is replaced from all ages alike, in few
rounds, so that the reading is bounded by the sample and not by the lineage.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from store.lineage.fact_pages import Lineage, read_lineage, standing_facts, stored_facts, stored_questions
from store.lineage.facts_in_force import Place, neighbors
from store.lineage.questions import is_removed

_ROUNDS: Final = 6
_LARGEST_DRAW: Final = 2000


@dataclass(frozen=True)
class SampledFact:
    place: Place
    fact: dict[str, Any]


def sample_in_force(
    session: Session,
    model: str,
    number: int,
    wanted: int,
    seed: int,
    *,
    without: Collection[tuple[str, int]] = (),
    not_asking: Collection[str] = (),
    deleted_too: bool = False,
) -> list[SampledFact]:
    """At most `wanted` facts that version `number` says, in the lineage's order; the same for the same seed.

    Left out are those of `without`, (edit, index), those that ask one of the questions `not_asking`, and those whose
    texts were removed. Raises NotFoundError; `deleted_too` as in `steps`.
    """
    line = read_lineage(session, model, number, deleted_too=deleted_too)
    edits = list(line.edits)
    ends = list(itertools.accumulate(step.facts for step in line.edits.values()))
    total = ends[-1] if ends else 0
    chance = random.Random(seed)
    leaving, asked = set(without), set(not_asking)
    tried: set[int] = set()
    found: list[tuple[int, Place]] = []
    draw = wanted
    for _ in range(_ROUNDS):
        missing = wanted - len(found)
        if missing <= 0 or len(tried) == total:
            break
        positions = _spread(chance, total, draw, tried)
        tried.update(positions)
        fit = _fit(session, line, [(at, _place(line, edits, ends, at)) for at in positions], leaving, asked)
        found += fit if len(fit) <= missing else chance.sample(fit, missing)
        draw = min(2 * draw, max(_LARGEST_DRAW, wanted))
    facts = stored_facts(session, [place for _, place in found])
    sampled = [SampledFact(place, facts[place.edit, place.index]) for _, place in sorted(found, key=lambda one: one[0])]
    return [one for one in sampled if not is_removed(one.fact)]


def _spread(chance: random.Random, total: int, draw: int, tried: Collection[int]) -> list[int]:
    """One position in each of `draw` equal ranges of `total`, of those that were not tried; all that is left where
    that is no more."""
    if draw >= total - len(tried):
        return [at for at in range(total) if at not in tried]
    cuts = [total * number // draw for number in range(draw + 1)]
    drawn = (chance.randrange(start, end) for start, end in itertools.pairwise(cuts) if start < end)
    return [at for at in drawn if at not in tried]


def _place(line: Lineage, edits: Sequence[str], ends: Sequence[int], at: int) -> Place:
    number = bisect.bisect_right(ends, at)
    return line.place(edits[number], at - (ends[number - 1] if number else 0))


def _fit(
    session: Session,
    line: Lineage,
    drawn: Sequence[tuple[int, Place]],
    leaving: Collection[tuple[str, int]],
    asked: Collection[str],
) -> list[tuple[int, Place]]:
    """Those of `drawn` that are in force and wanted."""
    questions = stored_questions(session, [place for _, place in drawn])
    _, after = neighbors(standing_facts(session, line, set(questions.values())))
    return [
        (at, place)
        for at, place in drawn
        if (key := (place.edit, place.index)) not in line.reverted
        and key not in leaving
        and place not in after
        and questions[key] not in asked
    ]
