"""What the reader of a dashboard chooses: the Prometheus, values of labels, and how far back rates look."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}


def label_variable(name: str, label: str, query: str, description: str) -> Json:
    """A choice among the values that a label has now, several at once, all by default."""
    return {
        "name": name,
        "label": label,
        "description": description,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def window_variable() -> Json:
    """How far back each point of a percentile or a rate of rare things looks."""
    values = ("5m", "15m", "1h", "6h", "1d")
    return {
        "name": "window",
        "label": "Window",
        "description": "How far back each point of a percentile or a rate looks",
        "type": "custom",
        "query": ",".join(values),
        "options": [{"text": value, "value": value, "selected": value == "1h"} for value in values],
        "current": {"text": "1h", "value": "1h"},
        "multi": False,
        "includeAll": False,
    }


def source_variable() -> Json:
    """Which Prometheus is asked."""
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "multi": False,
        "includeAll": False,
        "current": {"text": "Prometheus", "value": "emmetd-prometheus"},
    }
