"""Importing redis-py without what it imports only to measure itself."""

from __future__ import annotations

import sys
from typing import Final

_MEASURES: Final = "opentelemetry.sdk.metrics"


def import_redis() -> None:
    """Import redis-py as if OpenTelemetry's SDK was not installed. A process calls it before anything else imports it.

    Where the SDK is, redis-py imports half of it for metrics that nobody asked for: 0.15 s at every start.
    """
    if "redis" in sys.modules or _MEASURES in sys.modules:
        return
    sys.modules[_MEASURES] = None  # type: ignore[assignment]  # how Python is told that a module is not to be had
    try:
        import redis  # noqa: F401
    finally:
        del sys.modules[_MEASURES]
