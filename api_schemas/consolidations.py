"""Consolidations: a version's facts in force, solved anew as one batch on the base."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api_schemas.metrics import Thresholds
from api_schemas.settings import DEFAULT_ALGORITHM, SettingsOverrides
from api_schemas.texts import Label


class ConsolidationRequest(BaseModel):
    """How to solve; every field has a default, and an empty body is an empty object.

    Without `thresholds`, EM of the facts may not fall below that of the version by more than 0.02, nor drift against
    the base grow beyond the version's by more than 0.1.
    """

    model_config = ConfigDict(extra="forbid")

    algorithm: Annotated[
        str,
        Field(
            max_length=50,
            description="Values that the version's edits found with another method, or for another last layer, are "
            "optimised again.",
        ),
    ] = DEFAULT_ALGORITHM
    settings: SettingsOverrides = SettingsOverrides()
    label: Label | None = None
    thresholds: Thresholds = {}
    dry_run: bool = False
    urgent: bool = False
