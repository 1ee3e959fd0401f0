"""Statistics: C0 of a model's layers, made ahead of time from a corpus that the operator configured."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api_schemas.edits import EditError, Progress
from api_schemas.settings import LayerNumber
from api_schemas.texts import Clean


class StatisticRequest(BaseModel):
    """A field left out (or null) is what edits use: the recommended layers, the default corpus, its default tokens."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(max_length=64, examples=["smollm2-135m"], description="A model's NAME."), Clean()]
    layers: Annotated[
        list[LayerNumber] | None,
        Field(
            min_length=1,
            max_length=64,
            description="Made in one pass over the text.",
            json_schema_extra={"uniqueItems": True},
        ),
    ] = None
    corpus: Annotated[
        str | None, Field(max_length=64, examples=["self"], description="A name that GET /v1/corpora lists.")
    ] = None
    tokens: Annotated[
        int | None,
        Field(ge=1, le=100_000_000, description="By default ten for each input of the layer's edited matrix."),
    ] = None


class LayerStatistic(BaseModel):
    """C0 of one layer. `shrinkage` · mean eigenvalue was added to its diagonal; `corpus` says which text exactly."""

    layer: int
    tokens: int
    corpus: str
    shrinkage: float
    condition_number: float


class StatisticJob(BaseModel):
    """`layers` and `tokens` are null where the worker chooses; `statistics`, `seconds` and the weights' `fingerprint`
    are there when it has succeeded."""

    id: str
    object: Literal["statistic"] = "statistic"
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    model: str
    layers: list[int] | None
    corpus: str
    tokens: int | None
    progress: Progress
    statistics: list[LayerStatistic] | None
    seconds: float | None
    fingerprint: str | None
    error: EditError | None
    created_at: datetime
    finished_at: datetime | None


class StatisticPage(BaseModel):
    data: list[StatisticJob]
    next_cursor: str | None


class CorpusInfo(BaseModel):
    """A corpus by the name that the operator gave it. `default`: C0 of edits is made from it."""

    name: str
    kind: Literal["self-sampled", "file", "data_set", "moments"]
    data_set: str | None = Field(None, description="Id and revision on the Hugging Face hub.")
    default: bool


class CorpusList(BaseModel):
    data: list[CorpusInfo]
