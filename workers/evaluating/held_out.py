"""Reading the held-out text by several versions, a few texts at a time: drift is made of that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from editing.model.projection import Matrices
from editing.model.token_sequences import TokenSequences
from editing.readings.observations import HeldOutReading, Observations
from editing.readings.perplexity import held_out_reading
from store.work import lifecycle
from store.work.kinds import EVALUATION
from workers.context import WorkerContext
from workers.evaluating.place import Place
from workers.evaluating.portions import Pace
from workers.tasks.lease import Lease

_KEPT: Final = "held_out"


def measure_held_out(
    context: WorkerContext, place: Place, lease: Lease, evaluation: str, matrices: Mapping[int, Matrices]
) -> dict[int, Observations]:
    """What drift of each version in `matrices` is measured on. Texts that were read are kept with the task."""
    text = context.statistics.held_out(should_stop=lease.should_stop)
    base = context.measuring.base_held_out
    if base is None:
        base = _read(context, place, lease, evaluation, 0, {}, text)
        context.measuring.base_held_out = base
    return {
        number: Observations(
            (),
            held_out=base if number == 0 else _read(context, place, lease, evaluation, number, of_version, text),
            base_held_out=base,
        )
        for number, of_version in matrices.items()
    }


def _read(
    context: WorkerContext,
    place: Place,
    lease: Lease,
    evaluation: str,
    number: int,
    matrices: Matrices,
    text: TokenSequences,
) -> HeldOutReading:
    texts = text.sequences()
    kept = place.kept.setdefault(_KEPT, {}).setdefault(str(number), {"log_likelihoods": [], "tokens": []})
    pace = Pace()
    while (done := len(kept["tokens"])) < len(texts):
        size = min(pace.size, len(texts) - done)
        rows = TokenSequences.of(one.tolist() for one in texts[done : done + size])
        with place.portion(lease) as patience:
            read = held_out_reading(context.model.decoder, matrices, rows, should_stop=patience)
        pace.took(size, patience.seconds)
        kept["log_likelihoods"] += [value if math.isfinite(value) else str(value) for value in read.log_likelihoods]
        kept["tokens"] += read.tokens
        with place.writing() as session:
            row = lifecycle.get(session, EVALUATION, evaluation)
            lifecycle.set_progress(row, "perplexity", len(kept["tokens"]), len(texts), None)
    return HeldOutReading(tuple(map(float, kept["log_likelihoods"])), tuple(kept["tokens"]))
