"""What lies between two versions of a model."""

from __future__ import annotations

from pydantic import BaseModel

from api_schemas.models import VersionFact


class DeltaNorm(BaseModel):
    """A Frobenius norm, and the same as a share of the norm of the base's matrix (null where that was not kept)."""

    norm: float
    relative: float | None


class LayerDiff(BaseModel):
    """One layer's change from the base in either version, what lies between the two, and the angle of the changes."""

    layer: int
    before: DeltaNorm
    after: DeltaNorm
    difference: DeltaNorm
    cosine: float | None


class FactDiff(BaseModel):
    """The first of `total` facts, as the version has them that says them."""

    total: int
    data: list[VersionFact]


class VersionDiff(BaseModel):
    """From one version to another: facts that only the second says, those that only the first says, and the weights."""

    model: str
    before: str
    after: str
    common_ancestor: str
    facts_added: FactDiff
    facts_taken_out: FactDiff
    layers: list[LayerDiff]
