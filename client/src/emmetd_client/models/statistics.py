"""Statistics: C0 of a model's layers, made ahead of time, and the corpora that it is made from."""

from __future__ import annotations

from emmetd_client.models.answers import Answer
from emmetd_client.models.jobs import Job


class LayerStatistic(Answer):
    """C0 of one layer. `shrinkage` × mean eigenvalue was added to its diagonal."""

    layer: int
    tokens: int
    corpus: str
    shrinkage: float | None = None
    condition_number: float | None = None


class StatisticData(Job):
    """`layers` and `tokens` are None where the worker chooses."""

    model: str
    layers: list[int] | None = None
    corpus: str | None = None
    tokens: int | None = None
    statistics: list[LayerStatistic] | None = None
    seconds: float | None = None
    fingerprint: str | None = None


class Corpus(Answer):
    """A corpus by the name that the operator gave it; `default`: edits use it."""

    name: str
    kind: str
    data_set: str | None = None
    default: bool = False
