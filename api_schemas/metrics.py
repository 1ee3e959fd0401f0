"""Measurements: their names, and how a measured value travels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticKnownError

KNOWN_METRICS: Final = "metrics"
"""The key of a validation's context under which names of metrics are checked against the table of them.

The table stands above this package (`editing.metrics`), with what computes each. Without a context any name passes:
what is read back was checked when it was accepted.
"""
DEFAULT_METRICS: Final = ("ES", "PS", "NS", "S")


def _known(info: ValidationInfo) -> Sequence[str] | None:
    return None if info.context is None else info.context.get(KNOWN_METRICS)


def _is_known(value: Any, info: ValidationInfo) -> Any:
    known = _known(info)
    if known is None or value in known:
        return value
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise PydanticKnownError("string_unicode")
    *first, last = (repr(name) for name in known)
    raise PydanticKnownError("literal_error", {"expected": f"{', '.join(first)} or {last}"})


def _at_most_all(value: Any, info: ValidationInfo) -> Any:
    known = _known(info)
    if known is None or not isinstance(value, list) or len(value) <= len(known):
        return value
    raise PydanticKnownError("too_long", {"field_type": "List", "max_length": len(known), "actual_length": len(value)})


MetricName = Annotated[str, BeforeValidator(_is_known)]
MetricNames = Annotated[list[MetricName], Field(min_length=1), BeforeValidator(_at_most_all)]
"""As many as there are; one named twice counts twice."""


class Measurement(BaseModel):
    """`value` is null where nothing could be measured (n = 0).

    `low` and `high` bound a 95% interval: a seeded bootstrap over the facts, or over the texts that drift is read on.
    `protocol` says how it was measured, of a metric that is measured in several ways.
    """

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    protocol: Annotated[str | None, Field(exclude_if=lambda protocol: protocol is None)] = None


class LayerReport(BaseModel):
    """What the solve did to one layer. Norm and cost are relative to the parent's W.

    `mu_used` is above `mu_asked` where the batch's keys made that necessary; `repaired` counts, round by round, the
    subjects that were optimised again.
    """

    layer: int
    mu_asked: float
    mu_used: float
    condition_number: float
    memorization_error: float
    preservation_cost: float
    relative_norm: float
    rank: int
    repaired: list[int] = []


class RevertedMetrics(BaseModel):
    """The facts that a revert took out, measured before it, after it, and at the version that they were edited on.

    What was taken out is no longer said: `after` is then like `original`.
    """

    before: dict[str, Measurement] = {}
    after: dict[str, Measurement] = {}
    original: dict[str, Measurement] = {}


class BatchWarning(BaseModel):
    """What to know of a batch or an evaluation although nothing failed; `facts` are the indices it is about.

    `subject_begins_text`: these facts are edited only for prompts that come after other text. `not_measured`: a metric
    of an evaluation counted no fact.
    """

    code: str
    detail: str
    facts: list[int]


class BatchMetrics(BaseModel):
    """The measurements beside a batch: before and after the edit, per layer, and where the time went (seconds).

    Of a revert, `before` and `after` are those of the facts that stay in the edits it changed.
    """

    before: dict[str, Measurement] = {}
    after: dict[str, Measurement] = {}
    reverted: RevertedMetrics | None = None
    drift: Measurement | None = None
    layers: list[LayerReport] = []
    seconds: dict[str, float] = {}
    warnings: list[BatchWarning] = []


Thresholds = dict[MetricName, Annotated[float, Field(allow_inf_nan=False)]]
"""What a limit bounds depends on the metric (`editing.metrics.metric.Metric.breach`)."""
DEFAULT_THRESHOLDS: dict[str, float] = {"EM": 0.5, "drift": 1.5}
