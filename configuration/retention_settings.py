"""The settings about how long things are kept. `emmetd retention apply` does what they say."""

from __future__ import annotations

from pydantic import Field, PositiveInt
from pydantic_settings import BaseSettings


class RetentionSettings(BaseSettings):
    """Part of `Settings`."""

    retention_version_days: PositiveInt | None = Field(
        None, description="days after which a version goes that no alias, later version or running work needs"
    )
    retention_keep_versions: int = Field(
        10, ge=1, description="newest versions of each model that stay, with their matrices, whatever their age"
    )
    retention_matrix_days: PositiveInt | None = Field(
        None,
        description="days after which the matrices of a version go that no alias points at; workers add them up again "
        "from the deltas, which stay",
    )
    retention_fact_days: PositiveInt | None = Field(
        None, description="days after which the texts of an ended edit's facts are removed; its version stays"
    )
    retention_evaluation_days: PositiveInt | None = Field(
        None, description="days after which an ended evaluation goes, with its prompts"
    )
    retention_audit_days: PositiveInt | None = Field(
        None, description="days after which entries of the audit log go; by default it is kept for ever"
    )
