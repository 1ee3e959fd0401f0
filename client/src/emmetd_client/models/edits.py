"""Edit batches: jobs that end in a version."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from emmetd_client._tables import Table, edit_table
from emmetd_client.models.answers import Answer
from emmetd_client.models.jobs import Job, Progress
from emmetd_client.models.metrics import BatchMetrics


class RevertedFacts(Answer):
    """Facts (indices) of the batch `edit` that a revert takes out."""

    edit: str
    facts: list[int]


class EditData(Job):
    """An edit batch. `kind` is edit, revert or consolidation; `n_facts` is how many facts it edits or takes out.

    `n_left_out` is how many of those that were sent it does not edit. `base_version` is None until it reaches the head
    of its line, `version` until it has succeeded.
    """

    kind: str = "edit"
    model: str
    requested: str | None = None
    base_version: str | None = None
    version: str | None = None
    algorithm: str | None = None
    settings: dict[str, Any] = {}
    n_facts: int = Field(0, alias="facts")
    n_left_out: int = Field(0, alias="left_out")
    reverts: list[RevertedFacts] = []
    label: str | None = None
    thresholds: dict[str, float] = {}
    budget: dict[str, float] | None = None
    dry_run: bool = False
    urgent: bool = False
    metrics: BatchMetrics | None = None

    @property
    def reference(self) -> str | None:
        """NAME@vN of the version that it made."""
        return None if self.version is None else f"{self.model.partition('@')[0]}@{self.version}"

    def table(self) -> Table:
        return edit_table(self)

    def _repr_html_(self) -> str:
        return self.table().html


class LeftOutFact(Answer):
    """A fact that is not edited: its `index` in what was sent, the field at fault, and what is wrong with it."""

    index: int
    loc: str
    msg: str


class EditEvent(Answer):
    """One change in the life of a batch. `state` is None for what is told without a change of state."""

    id: int
    edit: str
    kind: str
    state: str | None = None
    at: datetime
    details: dict[str, Any] = {}


class EditProgress(Progress):
    """How far the batch `edit` is, told among its events."""

    edit: str
