"""Reading the held-out text by several versions, a few texts at a time: drift is made of that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from sqlalchemy.orm import Session

from editing.model.projection import Matrices
from editing.readings.observations import HeldOutReading, Observations
from store.work import lifecycle
from store.work.kinds import EVALUATION
from workers.context import WorkerContext
from workers.evaluating.place import Place
from workers.evaluating.portions import Pace
from workers.held_out import BASE, HeldOutReadings

_KEPT: Final = "held_out"


def measure_held_out(
    context: WorkerContext, place: Place, evaluation: str, matrices: Mapping[int, Matrices]
) -> dict[int, Observations]:
    """What drift of each version in `matrices` is measured on. Texts that were read are kept with the task."""
    readings = context.measuring.held_out(place.should_stop)
    base = _read(place, evaluation, 0, {}, readings)
    return {
        number: Observations(
            (),
            held_out=base if number == 0 else _read(place, evaluation, number, of_version, readings),
            base_held_out=base,
        )
        for number, of_version in matrices.items()
    }


def _read(place: Place, evaluation: str, number: int, matrices: Matrices, readings: HeldOutReadings) -> HeldOutReading:
    """Of version `number`. The base's is kept by the worker, too, which may know it already."""
    text = readings.text
    kept = place.kept.setdefault(_KEPT, {}).setdefault(str(number), {"log_likelihoods": [], "tokens": []})
    known = HeldOutReading(tuple(map(float, kept["log_likelihoods"])), tuple(kept["tokens"]))
    if number == 0 and len(readings.known(BASE).tokens) > len(known.tokens):
        known = readings.known(BASE)
    pace = Pace()
    while (done := len(known.tokens)) < len(text):
        size = min(place.cut(pace.size), len(text) - done)
        with place.portion() as patience:
            known = text.read_to(matrices, known, done + size, patience)
        pace.took(size, patience.seconds, place.aim)
        kept |= _as_stored(known)
        if number == 0:
            readings.keep(BASE, known)
        place.keep(partial(_write, evaluation, len(known.tokens), len(text)))
    return known


def _write(evaluation: str, done: int, of: int, session: Session) -> None:
    row = lifecycle.get(session, EVALUATION, evaluation)
    lifecycle.set_progress(row, "perplexity", done, of, None)


def _as_stored(reading: HeldOutReading) -> dict[str, Any]:
    """JSON has no number that is not finite."""
    sums = [value if math.isfinite(value) else str(value) for value in reading.log_likelihoods]
    return {"log_likelihoods": sums, "tokens": list(reading.tokens)}
