"""Measurements: their names, and how a measured value travels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

MetricName = Literal["ES", "PS", "NS", "S", "EM", "GA", "GE", "drift"]
METRICS: tuple[MetricName, ...] = ("ES", "PS", "NS", "S", "EM", "GA", "GE", "drift")


class Measurement(BaseModel):
    """`value` is null where nothing could be measured (n = 0)."""

    value: float | None
    n: int


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
    """What to know of a batch although nothing failed; `facts` are the indices it is about.

    `subject_begins_text`: these facts are edited only for prompts that come after other text.
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


Thresholds = Annotated[
    dict[MetricName, Annotated[float, Field(allow_inf_nan=False)]],
    Field(description="Least value for a score, greatest for drift; a batch outside them is not published."),
]
DEFAULT_THRESHOLDS: dict[MetricName, float] = {"EM": 0.5, "drift": 1.5}
