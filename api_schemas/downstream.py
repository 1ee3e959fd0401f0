"""What other programs measured of a version, and what an alias demands of measurements before it is moved."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api_schemas.metrics import MetricName
from api_schemas.references import VersionName

MOST_TASKS: Final = 200
MOST_MEASURES: Final = 50
MOST_SETTINGS: Final = 50

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Setting = Annotated[str, Field(max_length=500)] | bool | int | _Number | None


class Harness(BaseModel):
    """The program that measured, and its version."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100, examples=["lm-eval"])]
    version: Annotated[str, Field(min_length=1, max_length=100, examples=["0.4.9"])]


class TaskMeasure(BaseModel):
    model_config = ConfigDict(extra="forbid")

    value: _Number
    stderr: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    higher_is_better: bool | None = None


class TaskResult(BaseModel):
    """One task: `n` samples, the `version` of its definition, and its measures by name."""

    model_config = ConfigDict(extra="forbid")

    n: Annotated[int | None, Field(ge=0)] = None
    version: Annotated[str | None, Field(max_length=100)] = None
    measures: Annotated[dict[_Name, TaskMeasure], Field(min_length=1, max_length=MOST_MEASURES)]


class DownstreamSubmission(BaseModel):
    """`results` by task; `settings` are what the harness was called with, as far as it tells results apart."""

    model_config = ConfigDict(extra="forbid")

    harness: Harness
    settings: Annotated[dict[_Name, _Setting], Field(max_length=MOST_SETTINGS)] = {}
    results: Annotated[dict[_Name, TaskResult], Field(min_length=1, max_length=MOST_TASKS)]


class DownstreamResult(DownstreamSubmission):
    model_config = ConfigDict(extra="ignore")

    id: str
    object: Literal["downstream_result"] = "downstream_result"
    model: str
    version: VersionName
    created_at: datetime


class DownstreamPage(BaseModel):
    data: list[DownstreamResult]
    next_cursor: str | None


class Bound(BaseModel):
    """`most_fall`: how far the value may be on the bad side of the base's, measured by the same harness alike."""

    model_config = ConfigDict(extra="forbid")

    at_least: _Number | None = None
    at_most: _Number | None = None
    most_fall: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.at_least is None and self.at_most is None and self.most_fall is None:
            raise ValueError("bounds nothing; give at_least, at_most or most_fall")
        return self


class Guard(BaseModel):
    """What must have been measured of a version before the alias is moved to it.

    `metrics` are bounds on what the check before publication measured, as thresholds are; `downstream` bounds by task
    and measure, on the newest results that were kept with the version. An empty guard demands nothing.
    """

    model_config = ConfigDict(extra="forbid")

    metrics: Annotated[dict[MetricName, _Number], Field(max_length=MOST_MEASURES)] = {}
    downstream: Annotated[
        dict[_Name, Annotated[dict[_Name, Bound], Field(min_length=1, max_length=MOST_MEASURES)]],
        Field(max_length=MOST_TASKS, examples=[{"arc_easy": {"acc": {"most_fall": 0.02}}}]),
    ] = {}

    @property
    def demands(self) -> bool:
        return bool(self.metrics or self.downstream)
