"""docker-compose.yml as Compose reads it: variables at their defaults, merges done."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parent.parent.parent
PATH: Final = ROOT / "docker-compose.yml"
S3_PATH: Final = ROOT / "docker-compose.s3.yml"
OURS: Final = ("api", "housekeeping", "migrate", "worker-cpu", "worker-cuda")
ONE_SHOT: Final = "migrate"

Service = dict[str, Any]


@cache
def document() -> dict[str, Any]:
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", PATH.read_text())
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@cache
def s3_document() -> dict[str, Any]:
    """What docker-compose.s3.yml lays over it."""
    found: dict[str, Any] = yaml.safe_load(S3_PATH.read_text())
    return found


def services() -> dict[str, Service]:
    found: dict[str, Service] = document()["services"]
    return found
