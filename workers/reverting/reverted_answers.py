"""Measures what a version answers at the prompts of facts that were taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement
from editing.metrics.metric import mean_of
from editing.model.projection import Matrices
from editing.progress import ShouldStop
from workers.context import WorkerContext


@dataclass(frozen=True)
class RevertedAnswer:
    """Whether the new target is said, and whether it is more probable than the old one (None: no old one is known)."""

    said: bool
    preferred: bool | None


def answers_at_prompts(
    context: WorkerContext, matrices: Matrices, facts: Sequence[Fact], should_stop: ShouldStop
) -> list[RevertedAnswer]:
    """The version's answers at the prompts of `facts`."""
    evaluation = context.measuring.evaluate(matrices, facts, ("ES", "EM"), should_stop)
    readings = [reading.prompt for reading in evaluation.observations.facts]
    return [
        RevertedAnswer(
            reading.new.said, None if reading.old is None else reading.new.log_probability > reading.old.log_probability
        )
        for reading in readings
        if reading is not None
    ]


def as_metrics(answers_given: Sequence[RevertedAnswer]) -> dict[str, Measurement]:
    """EM and ES over the facts."""
    preferred = [answer.preferred for answer in answers_given if answer.preferred is not None]
    return {"ES": mean_of(map(float, preferred)), "EM": mean_of(float(answer.said) for answer in answers_given)}
