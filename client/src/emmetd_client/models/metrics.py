"""Measurements beside an edit, and where its time went."""

from __future__ import annotations

from emmetd_client.models.answers import Answer


class Measurement(Answer):
    """`value` is None where nothing could be measured; `low` and `high` are its 95 % interval."""

    value: float | None
    n: int = 0
    low: float | None = None
    high: float | None = None


class DriftMeasurement(Measurement):
    """`value` is against the base, `parent` against the version that was edited, with its own interval; `n` of `of`
    tokens were read."""

    parent: float | None = None
    parent_low: float | None = None
    parent_high: float | None = None
    of: int | None = None


class BeforeAfter(Answer):
    """One group of metrics before an edit and after it, by their names."""

    before: dict[str, Measurement] = {}
    after: dict[str, Measurement] = {}


class RevertedMetrics(BeforeAfter):
    """Of facts that a revert took out; `original` is where they had been edited."""

    original: dict[str, Measurement] = {}


class LayerReport(Answer):
    """What the solve did to one layer."""

    layer: int
    mu_asked: float | None = None
    mu_used: float | None = None
    condition_number: float | None = None
    memorization_error: float | None = None
    preservation_cost: float | None = None
    relative_norm: float | None = None
    rank: int | None = None
    repaired: list[int] = []


class BatchWarning(Answer):
    """What to know although nothing failed; `facts` are the indices it is about."""

    code: str
    detail: str = ""
    facts: list[int] = []


class BatchMetrics(BeforeAfter):
    """`retained` are facts of the lineage that were in force before: None on a first version. `restated` counts the
    subjects of earlier batches that this one wrote again."""

    retained: BeforeAfter | None = None
    restated: int = 0
    reverted: RevertedMetrics | None = None
    drift: DriftMeasurement | None = None
    layers: list[LayerReport] = []
    seconds: dict[str, float] = {}
    warnings: list[BatchWarning] = []
