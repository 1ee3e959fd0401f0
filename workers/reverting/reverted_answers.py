"""What a version answers where facts were taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement
from editing.model.projection import Matrices
from editing.progress import ShouldStop
from workers.context import WorkerContext


@dataclass(frozen=True)
class Answer:
    """Whether the new target is said, and whether it is more probable than the old one (None: no old one is known)."""

    said: bool
    preferred: bool | None


def answers(context: WorkerContext, matrices: Matrices, facts: Sequence[Fact], should_stop: ShouldStop) -> list[Answer]:
    """The version's answers at the prompts of `facts`."""
    found = context.measuring.evaluate(matrices, facts, ("ES", "EM"), should_stop)
    readings = [one.prompt for one in found.observations.facts]
    return [
        Answer(one.new.said, None if one.old is None else one.new.log_probability > one.old.log_probability)
        for one in readings
        if one is not None
    ]


def as_metrics(given: Sequence[Answer]) -> dict[str, Measurement]:
    """EM and ES over the facts."""
    preferred = [one.preferred for one in given if one.preferred is not None]
    return {"ES": _share(preferred), "EM": _share([one.said for one in given])}


def _share(values: Sequence[bool]) -> Measurement:
    return Measurement(value=sum(values) / len(values) if values else None, n=len(values))
