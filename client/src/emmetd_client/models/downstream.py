"""What other programs measured of a version."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emmetd_client._tables import Table, downstream_table
from emmetd_client.models.answers import Answer


class TaskMeasure(Answer):
    value: float
    stderr: float | None = None
    higher_is_better: bool | None = None


class TaskResult(Answer):
    n: int | None = None
    version: str | None = None
    measures: dict[str, TaskMeasure]


class DownstreamResult(Answer):
    """`results` by task; `harness` is the program that measured, `settings` what it was called with."""

    id: str
    model: str
    version: str
    harness: dict[str, str]
    settings: dict[str, Any] = {}
    results: dict[str, TaskResult]
    created_at: datetime

    def table(self) -> Table:
        return downstream_table([self])

    def _repr_html_(self) -> str:
        return self.table().html
