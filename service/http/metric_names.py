"""Names of metrics in requests: checked against the table of metrics, and listed in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from api_schemas.metrics import KNOWN_METRICS, KNOWN_THRESHOLDS, RETAINED
from editing.metrics import METRICS

THRESHOLDS: Final = (*METRICS, RETAINED)
CHECKED_NAMES: Final = {KNOWN_METRICS: tuple(METRICS), KNOWN_THRESHOLDS: THRESHOLDS}
"""The context that bodies are validated in, so that a name is checked wherever one stands."""


def describe_metrics(schemas: dict[str, Any]) -> None:
    """Into the schemas by name: which metrics there are, and what a threshold on each of them bounds."""
    for name in ("EditRequest", "RevertRequest"):
        thresholds = schemas[name]["properties"]["thresholds"]
        thresholds |= {"description": _thresholds(), "propertyNames": {"enum": [*THRESHOLDS]}}
    schemas["ConsolidationRequest"]["properties"]["thresholds"] |= {"propertyNames": {"enum": [*THRESHOLDS]}}
    schemas["EvaluationRequest"]["properties"]["metrics"] |= {"maxItems": len(METRICS)}
    schemas["Guard"]["properties"]["metrics"] |= {"propertyNames": {"enum": [*METRICS]}}
    for name, field in (
        ("EvaluationRequest", "metrics"),
        ("EvaluationSummary", "requested_metrics"),
        ("EvaluationJob", "requested_metrics"),
    ):
        schemas[name]["properties"][field]["items"]["enum"] = [*METRICS]


def _thresholds() -> str:
    higher, lower, near = (
        _listed([name for name, metric in METRICS.items() if metric.better == better])
        for better in ("higher", "lower", "near base")
    )
    return (
        f"Least value of {higher}; greatest of {lower}; of {near} the greatest change that the batch may make, either "
        "way, as a share of the value before it (0.05 is 5 %). Drift is against the parent here; `retained` is the "
        "greatest fall of EM of a sample of the lineage's earlier facts. A batch outside them is not published."
    )


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
