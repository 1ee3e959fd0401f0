"""The settings about what is told of the processes: a worker's own metrics, and traces."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings


class ObservabilitySettings(BaseSettings):
    """Part of `Settings`."""

    worker_metrics_port: int | None = Field(
        None, ge=1, le=65535, description="port for a worker's own /metrics, 1 to 65535; by default none"
    )
    worker_metrics_host: str | None = Field(
        None, min_length=1, description="address that a worker's own /metrics listens on; by default that of host"
    )
    otlp_endpoint: str | None = Field(
        None,
        repr=False,
        description="http:// or https:// URL of a collector that traces are sent to, OTLP over HTTP; "
        "by default OTEL_EXPORTER_OTLP_ENDPOINT, and without either there are no traces",
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _reachable_collector(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("only http:// and https:// URLs are known, like http://collector:4318")
        return url
