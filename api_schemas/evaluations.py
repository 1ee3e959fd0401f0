"""Evaluations: measure any version on given facts, beside another version where asked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api_schemas.edits import EditError, Progress
from api_schemas.facts import FactList
from api_schemas.metrics import DEFAULT_METRICS, BatchWarning, Measurement, MetricNames
from api_schemas.references import COMPARED_PATTERN, ReferenceText

EvaluationState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


MOST_COMPARED: Final = 7
"""Versions beside the one asked about: all their matrices are held at once."""
_Compared = Annotated[str, Field(max_length=200, json_schema_extra={"pattern": COMPARED_PATTERN})]


_Several = Annotated[list[_Compared], Field(max_length=MOST_COMPARED)]


def _listed(value: Any) -> Any:
    """One version as a list of it."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


ComparedVersions = Annotated[
    list[_Compared],
    Field(
        max_length=MOST_COMPARED,
        examples=["v0"],
        description="A version or alias of the same model, or several: all are measured on the same facts.",
    ),
    BeforeValidator(_listed, json_schema_input_type=_Compared | _Several | None),
]


class EvaluationRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: Annotated[ReferenceText, Field(examples=["smollm2-135m@v1"])]
    facts: FactList = []
    facts_of: Annotated[
        str | None,
        Field(
            max_length=200,
            examples=["v100"],
            description="Instead of `facts`: those that this version or alias of the same model says.",
            json_schema_extra={"pattern": COMPARED_PATTERN},
        ),
    ] = None
    sample: Annotated[
        int | None, Field(ge=1, le=1_000_000, description="How many of them, at most; by default all.")
    ] = None
    seed: Annotated[int, Field(ge=0, lt=2**31, description="Another seed is another sample.")] = 0
    metrics: MetricNames = [*DEFAULT_METRICS]
    compare_with: ComparedVersions = []
    judge: Annotated[
        bool,
        Field(
            description="Ask the judge that the operator configured whether what was said states the target: the "
            "answer in conversation where GA_chat is measured, else GA's. Facts and answers are sent there."
        ),
    ] = False


class JudgedMeasurement(Measurement):
    """The share of facts of which the judge said yes; `unjudged` counts those without a verdict."""

    unjudged: int


class JudgeReport(BaseModel):
    """Which model judged, with which prompt, and what came of it by NAME@vN, once the evaluation is finished.

    Each fact's row has its own verdict under `judge`: yes, no, or null with the reason.
    """

    model: str
    prompt: str
    versions: dict[str, JudgedMeasurement] | None = None


class EvaluationSummary(BaseModel):
    """`metrics` is keyed by NAME@vN: `versions` are all that are measured, `model` and what it is compared with.

    `facts_of`, `sample`, `seed` say whose facts were measured if none were sent. `warnings` name metrics that nothing
    was measured for, once it is finished.
    """

    id: str
    object: Literal["evaluation"] = "evaluation"
    state: EvaluationState
    model: str
    compare_with: str | None
    versions: list[str] = []
    requested_metrics: list[str]
    n_facts: int
    facts_of: str | None = None
    sample: int | None = None
    seed: int | None = None
    progress: Progress
    metrics: dict[str, dict[str, Measurement]] | None
    judge: JudgeReport | None = None
    warnings: list[BatchWarning] = []
    error: EditError | None
    created_at: datetime
    finished_at: datetime | None


class EvaluationJob(EvaluationSummary):
    """`facts` are per-fact rows, a page of them, as far as they have been measured. `next_cursor` is null at their end.

    While it runs that is the end of what is there so far.
    """

    facts: list[dict[str, Any]] = []
    next_cursor: str | None = None


class EvaluationPage(BaseModel):
    data: list[EvaluationSummary]
    next_cursor: str | None
