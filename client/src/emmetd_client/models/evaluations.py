"""Evaluations: any version measured on facts, beside another one where asked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from emmetd_client._tables import Table, evaluation_table
from emmetd_client.models.jobs import Job
from emmetd_client.models.metrics import Measurement


class EvaluationData(Job):
    """`metrics` is keyed by NAME@vN, then by metric; `first_rows` are the first of the rows of single facts."""

    model: str
    compare_with: str | None = None
    versions: list[str] = []
    requested_metrics: list[str] = []
    n_facts: int = 0
    metrics: dict[str, dict[str, Measurement]] | None = None
    judge: dict[str, Any] | None = None
    first_rows: list[dict[str, Any]] = Field([], alias="facts", repr=False)
    next_cursor: str | None = Field(None, repr=False)

    def table(self) -> Table:
        return evaluation_table(self)

    def _repr_html_(self) -> str:
        return self.table().html


class EvaluationRow(BaseModel):
    """One fact's measurements, by whatever names the server gives them."""

    model_config = ConfigDict(extra="allow")

    @property
    def values(self) -> dict[str, Any]:
        return dict(self.model_extra or {})
