"""Reverts: facts taken out of a version's lineage."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api_schemas.metrics import Budget, Thresholds
from api_schemas.references import VersionName
from api_schemas.texts import Clean, Label


class RevertRequest(BaseModel):
    """Which facts to take out: some of one version's batch, whole edits of the lineage, or both."""

    model_config = ConfigDict(extra="forbid")

    facts: Annotated[
        list[Annotated[int, Field(ge=0)]],
        Field(
            max_length=10_000, description="Indices in the batch of one version, as `/facts` and the edit number them."
        ),
    ] = []
    of: Annotated[
        VersionName | None,
        Field(
            description="The version whose batch `facts` counts in; by default the one in the path.", examples=["v1"]
        ),
    ] = None
    edits: Annotated[
        list[Annotated[str, Field(max_length=40), Clean()]],
        Field(max_length=1000, description="Ids of edits of the lineage, of which everything that is left goes."),
    ] = []
    label: Label | None = None
    thresholds: Thresholds = {}
    budget: Budget = Budget()
    dry_run: bool = False
    urgent: bool = False

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.facts and not self.edits:
            raise ValueError("names nothing to take out; give facts (indices), edits (ids), or both")
        if self.of is not None and not self.facts:
            raise ValueError("`of` says which version's batch `facts` counts in, but there are no facts")
        return self
