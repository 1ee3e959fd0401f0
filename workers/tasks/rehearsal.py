"""Chooses the earlier facts that a batch listens to, so that what it would lose of its line is said again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from api_schemas.facts import Fact, subject_key
from editing.errors import FactError
from editing.methods import EditSettings
from editing.subjects import ChatForm
from editing.values.facts import SubjectGroup, TokenizedFact, group_by_subject
from store.lineage.facts_in_force import Place
from store.lineage.questions import question_of
from store.lineage.retained_sample import SampledFact, sample_in_force
from workers.context import WorkerContext
from workers.tasks.plan import tokenized_groups

MOST_REHEARSED: Final = 512
"""Earlier facts that one batch listens to, however large it is: half a minute of two cores for the default model."""
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
    """Facts that version `base` says, `settings.rehearse` for each of the batch's `groups`, of every age alike.

    None of them asks what the batch asks, or is about one of its subjects: there the batch has the say. A strict batch
    listens to none: it would be refused for keys that are not its own.
    """
    wanted = min(settings.rehearse * len(groups), MOST_REHEARSED)
    if not wanted or not base or not settings.repair_rounds or settings.strict:
        return Rehearsed()
    own = [fact.fact for group in groups for fact in group.facts]
    with context.database.reading() as session:
        sample = sample_in_force(
            session,
            context.name,
            base,
            wanted,
            seed + _OTHER_DRAW,
            not_asking={question_of({"prompt": fact.prompt, "subject": fact.subject}) for fact in own},
            deleted_too=True,
        )
    subjects = {subject_key(fact.subject) for fact in own}
    others = [one for one in sample if subject_key(one.fact["subject"]) not in subjects]
    earlier = group_by_subject(list(_taken(context, others, settings, forms)))
    return Rehearsed(earlier, [[others[fact.index].place for fact in group.facts] for group in earlier])


def _taken(
    context: WorkerContext, sample: Sequence[SampledFact], settings: EditSettings, forms: Sequence[ChatForm]
) -> Iterator[TokenizedFact]:
    """Those of `sample`, by number, that fit beside this batch's context texts and chat forms: they had others."""
    for number, one in enumerate(sample):
        try:
            (group,) = tokenized_groups(context, [Fact.model_validate(one.fact)], settings, forms)
        except FactError:
            continue
        yield replace(group.facts[0], index=number)
