"""The settings about engines elsewhere that versions are deployed to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from configuration.access_settings import separated

_ORIGIN: Final = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:\d{1,5})?")
_PORTS: Final = {"http": 80, "https": 443}


class DeploymentSettings(BaseSettings):
    """Part of `Settings`."""

    deployment_targets: str = Field(
        "",
        description="engines that versions may be deployed to, as http://host:port, separated by commas; by default "
        "none",
    )
    deployment_folder: Path | None = Field(
        None,
        description="folder where engines find what is deployed to them; by default deployments in the data folder",
    )

    @field_validator("deployment_targets")
    @classmethod
    def _known_targets(cls, text: str) -> str:
        for part in separated(text):
            if not _ORIGIN.fullmatch(part.lower().rstrip("/")):
                raise ValueError(f"{part!r} is not an engine's address; write http://host:port, without a path")
        return text

    @field_validator("deployment_folder")
    @classmethod
    def _absolute_folder(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()

    @property
    def allowed_targets(self) -> frozenset[str]:
        """The origins in `deployment_targets`, each with its port."""
        return frozenset(origin_of(part) for part in separated(self.deployment_targets))


def origin_of(url: str) -> str:
    """`http://Host/` → "http://host:80". Raises ValueError where the port is none."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    return f"{parts.scheme}://{shown}:{port}"
