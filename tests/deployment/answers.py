"""What a running Prometheus answers."""

from __future__ import annotations

import math
from typing import Any

import httpx

from tests.deployment.stack import Stack


def result(http: httpx.Client, stack: Stack, expr: str) -> list[Any]:
    """The present series of an expression."""
    answer = http.post(f"{stack.prometheus_url}/api/v1/query", data={"query": expr})
    assert answer.status_code == 200, f"{expr}: {answer.text}"
    found: list[Any] = answer.json()["data"]["result"]
    return found


def has_values(found: list[Any]) -> bool:
    """Whether there is a number: a percentile of nothing is a series of NaN."""
    return any(not math.isnan(float(series["value"][1])) for series in found)
