"""Measurements: their names, and how a measured value travels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticKnownError

KNOWN_METRICS: Final = "metrics"
KNOWN_THRESHOLDS: Final = "thresholds"
"""The keys of a validation's context under which names of metrics, and of what thresholds are on, are checked.

The table stands above this package (`editing.metrics`), with what computes each. Without a context any name passes:
what is read back was checked when it was accepted.
"""
DEFAULT_METRICS: Final = ("ES", "PS", "NS", "S")
LINE_WORN: Final = "line_worn"
"""The code of the warning about a line that wears."""
RETAINED: Final = "retained"
"""The name of the threshold on how far EM of the lineage's earlier facts may fall; no metric of its own."""


def _known(info: ValidationInfo, key: str = KNOWN_METRICS) -> Sequence[str] | None:
    return None if info.context is None else info.context.get(key)


def _is_known(value: Any, info: ValidationInfo) -> Any:
    return _is_one_of(value, _known(info))


def _is_known_threshold(value: Any, info: ValidationInfo) -> Any:
    return _is_one_of(value, _known(info, KNOWN_THRESHOLDS))


def _is_one_of(value: Any, known: Sequence[str] | None) -> Any:
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
ThresholdName = Annotated[str, BeforeValidator(_is_known_threshold)]
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


class DriftMeasurement(Measurement):
    """`value` is against the base, what the lineage has used of its budget; `parent` against the parent, what this
    batch did, with its own interval. `n` counts the tokens that were read, as many as deciding needed, of the held-out
    text's `of`."""

    parent: float | None = None
    parent_low: float | None = None
    parent_high: float | None = None
    of: int | None = None

    def is_beyond(self, limit: float) -> bool:
        """Whether drift against the base is above `limit`; read on a part of the text, with its whole interval."""
        if self.value is None or self.value <= limit:
            return False
        in_part = self.of is not None and self.n < self.of
        return not in_part or self.low is None or self.low > limit


class RetainedMetrics(BaseModel):
    """A sample of the facts in force from earlier batches of the lineage: EM and GA at the parent and after the edit.

    Facts that the batch corrects or takes out are not in it. `n` counts facts.
    """

    before: dict[str, Measurement] = {}
    after: dict[str, Measurement] = {}


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

    `subject_begins_text`: these facts are edited only for prompts that come after other text. `subject_shares_token`:
    their subjects end in a token that holds punctuation, too. `line_worn`: facts corrected earlier are being lost, or
    most of the budget is used; consolidate the line. `not_measured`: a metric of an evaluation counted no fact.
    """

    code: str
    detail: str
    facts: list[int]


class BatchMetrics(BaseModel):
    """The measurements beside a batch: before and after the edit, per layer, and where the time went (seconds).

    Of a revert, `before` and `after` are those of the facts that stay in the edits it changed. `retained` is null where
    the lineage has no earlier facts in force. `restated` counts the subjects of earlier batches that were not said any
    more and that this one wrote again.
    """

    before: dict[str, Measurement] = {}
    after: dict[str, Measurement] = {}
    reverted: RevertedMetrics | None = None
    retained: RetainedMetrics | None = None
    restated: int = 0
    drift: DriftMeasurement | None = None
    layers: list[LayerReport] = []
    seconds: dict[str, float] = {}
    warnings: list[BatchWarning] = []


Thresholds = dict[ThresholdName, Annotated[float, Field(allow_inf_nan=False)]]
"""What a limit bounds depends on the metric (`editing.metrics.metric.Metric.breach`). All are on what one batch
changes: drift is against its parent here, and `retained` is the greatest fall of EM of the lineage's earlier facts."""


class Budget(BaseModel):
    """What a whole lineage may use up."""

    model_config = ConfigDict(extra="forbid")

    drift: Annotated[
        float | None,
        Field(ge=1, allow_inf_nan=False, description="Greatest drift against the base; 1 is no drift.", examples=[1.4]),
    ] = None


DEFAULT_THRESHOLDS: dict[str, float] = {"EM": 0.5, "drift": 1.2, RETAINED: 0.1}
DEFAULT_BUDGET: dict[str, float] = {"drift": 1.5}
"""The defaults of thresholds and budgets, here alone."""
