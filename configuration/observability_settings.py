"""The settings about what is told of the processes: a worker's own metrics."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class ObservabilitySettings(BaseSettings):
    """Part of `Settings`."""

    worker_metrics_port: int | None = Field(
        None, ge=1, le=65535, description="port for a worker's own /metrics, 1 to 65535; by default none"
    )
    worker_metrics_host: str | None = Field(
        None, min_length=1, description="address that a worker's own /metrics listens on; by default that of host"
    )
