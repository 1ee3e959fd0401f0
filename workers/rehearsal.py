"""Chooses the earlier facts that a batch listens to, so that what it would lose of its line is said again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from api_schemas.facts import Fact, subject_key
from editing.methods import EditSettings, context_reserve, rehearsed_facts
from editing.subjects import ChatForm
from editing.values.facts import SubjectGroup, group_by_subject, tokenize_fitting
from store.lineage.facts_in_force import Place
from store.lineage.questions import questions_of
from store.lineage.retained_sample import sample_in_force
from workers.context import WorkerContext

_OTHER_DRAW: Final = 2**32
"""Added to a batch's seed: the check measures what was lost on a sample drawn without regard to this one. Were they the
same facts, it would see only what was mended."""


@dataclass(frozen=True)
class Rehearsed:
    """Earlier facts by subject, and where in the lineage those of each group stand."""

    groups: Sequence[SubjectGroup] = ()
    places: Sequence[Sequence[Place]] = ()

    def entries(self, numbers: Sequence[int]) -> list[list[dict[str, Any]]]:
        """Of the groups `numbers`, each's facts as a version's provenance keeps them."""
        return [[{"edit": place.edit, "index": place.index} for place in self.places[number]] for number in numbers]


def rehearsed(
    context: WorkerContext,
    base: int,
    groups: Sequence[SubjectGroup],
    settings: EditSettings,
    forms: Sequence[ChatForm],
    seed: int,
) -> Rehearsed:
    """Facts that version `base` says, so many as `settings` want for the batch's `groups`, of every age alike.

    None of them asks what the batch asks, or is about one of its subjects: there the batch has the say. Those that do
    not fit beside this batch's context texts and chat forms, having come with others, are left out.
    """
    wanted = rehearsed_facts(settings, len(groups))
    if not wanted or not base:
        return Rehearsed()
    own = [fact.fact for group in groups for fact in group.facts]
    with context.database.reading() as session:
        sample = sample_in_force(
            session,
            context.name,
            base,
            wanted,
            seed + _OTHER_DRAW,
            not_asking=questions_of(own),
            deleted_too=True,
        )
    subjects = {subject_key(fact.subject) for fact in own}
    others = [one for one in sample if subject_key(one.fact["subject"]) not in subjects]
    facts = [Fact.model_validate(one.fact) for one in others]
    tokenizer, length = context.model.backend_tokenizer, context.model.decoder.context_length
    earlier = group_by_subject(tokenize_fitting(tokenizer, facts, length, context_reserve(settings), forms))
    return Rehearsed(earlier, [[others[fact.index].place for fact in group.facts] for group in earlier])
