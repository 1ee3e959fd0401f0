"""What the workers' image says of itself."""

from __future__ import annotations

import json
import re
from functools import cache

from tests.deployment.compose_file import ROOT


@cache
def _text() -> str:
    return (ROOT / "docker" / "worker.Dockerfile").read_text()


def command() -> list[str]:
    """What it runs where nothing else is said."""
    found: list[str] = json.loads(re.findall(r"^CMD (\[.*\])$", _text(), re.MULTILINE)[-1])
    return found


def environment(target: str) -> dict[str, str]:
    """The variables of ours that a target sets, with those of the target that it builds on."""
    stages = re.split(r"^FROM ", _text(), flags=re.MULTILINE)
    named = "".join(stage for name in ("worker", target) for stage in stages if f" AS {name}\n" in stage)
    return dict(re.findall(r"\b(EMMETD_[A-Z_]+)=(\S+)", named))
