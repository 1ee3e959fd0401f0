"""The dashboards' files, and every query in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.deployment.compose_file import ROOT

FOLDER: Final = ROOT / "docker" / "grafana" / "dashboards"
PATHS: Final = sorted(FOLDER.glob("*.json"))


@dataclass(frozen=True)
class Asked:
    """A query as Grafana would send it, every variable at "all"."""

    dashboard: str
    panel: str
    expr: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}"


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def asked() -> list[Asked]:
    """Every query of every panel and of the annotations."""
    return [query for path in PATHS for query in _asked(path)]


def _asked(path: Path) -> Iterator[Asked]:
    whole = document(path)
    for panel in whole["panels"]:
        for target in panel.get("targets", ()):
            yield Asked(path.stem, panel["title"], _filled(target["expr"]))


def annotations() -> list[str]:
    return [_filled(found["expr"]) for path in PATHS for found in document(path)["annotations"]["list"]]


def _filled(expr: str) -> str:
    for name, value in (("$__rate_interval", "1m"), ("$window", "1m"), ("$model", ".*"), ("$stage", ".*")):
        expr = expr.replace(name, value)
    assert not re.search(r"\$\w", expr), f"a variable that no test knows: {expr}"
    return expr
