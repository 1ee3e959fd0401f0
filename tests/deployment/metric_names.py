"""The names of our metrics, read from where they are defined, and those that a PromQL expression uses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

import yaml

from tests.deployment.compose_file import ROOT

SUFFIXES: Final = {
    "Counter": ("_total",),
    "Histogram": ("_bucket", "_sum", "_count"),
    "Gauge": ("",),
    "GaugeMetricFamily": ("",),
    "CounterMetricFamily": ("_total",),
}
PROMETHEUS_OWN: Final = frozenset(
    {"ALERTS", "up", "probe_success", "process_start_time_seconds", "process_cpu_seconds_total"}
)
"""Made by Prometheus, its exporter, and the process collector of the client library."""

_WORDS: Final = re.compile(
    r"abs|absent|avg|by|changes|count|deriv|group_left|histogram_quantile|ignoring|increase|max|min|offset|on|or|and"
    r"|rate|sum|unless|vector|without"
)
"""The words of PromQL that our expressions use. An unknown one is taken for a metric and reported."""


@cache
def exposed() -> frozenset[str]:
    """Every series that a worker or the front end exposes."""
    sources = [
        ROOT / "workers" / "metrics.py",
        *(ROOT / "service" / f"{name}.py" for name in ("metrics", "deployment_metrics")),
    ]
    return frozenset(name for path in sources for name in _defined(ast.parse(path.read_text())))


def _defined(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SUFFIXES:
            name = node.args[0]
            assert isinstance(name, ast.Constant), "a metric's name is written out"
            yield from (f"{name.value}{suffix}" for suffix in SUFFIXES[node.func.id])


@cache
def recorded() -> frozenset[str]:
    """Every series that a recording rule makes."""
    document = yaml.safe_load((ROOT / "docker" / "prometheus" / "rules" / "recording.yml").read_text())
    return frozenset(rule["record"] for group in document["groups"] for rule in group["rules"])


def used(expr: str) -> set[str]:
    """The metrics that an expression names: words that are no function, label, string, number or duration."""
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left)\s*\([^)]*\)", "", bare)
    words = re.findall(r"(?<![\w.:])[a-zA-Z_][\w:]*", bare)
    return {word for word in words if not _WORDS.fullmatch(word)}
