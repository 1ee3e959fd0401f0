"""Sending spans to a collector, OTLP over HTTP. This alone imports OpenTelemetry's SDK, and is imported where wanted.

How many spans are kept (OTEL_TRACES_SAMPLER), how often they are sent (OTEL_BSP_…), with which headers, certificates
and patience (OTEL_EXPORTER_OTLP_…) and what the process is called (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) is said
in the variables that the SDK reads itself.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from configuration.sources import mask_url

_THEIR_LOGGER: Final = "opentelemetry.exporter"

log = structlog.get_logger(__name__)


def make_provider(endpoint: str, process: str) -> TracerProvider:
    """A provider of this process's own: libraries that look for a global one find none, and add no spans of theirs.

    Those would carry query strings and addresses of clients.
    """
    logging.getLogger(_THEIR_LOGGER).setLevel(logging.CRITICAL)  # a line for each attempt; ours is one for all
    ours = {
        "service.name": f"emmetd-{process}",
        "service.namespace": "emmetd",
        "service.version": version("emmetd"),
        # In a container both host name and process id are the same after a restart.
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
    }
    # What the environment says of the process holds before what we say.
    resource = Resource.create(ours).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(WatchedExporter(OTLPSpanExporter(endpoint=endpoint), endpoint)))
    log.info("traces are sent", endpoint=mask_url(endpoint))
    return provider


class WatchedExporter(SpanExporter):
    """Says once that the collector is away, and once that it is back. What could not be sent meanwhile is dropped."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = mask_url(endpoint)
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # of the thread that sends; nothing else may notice
            log.debug("traces were not sent", error=f"{type(error).__name__}: {error}")
            result = SpanExportResult.FAILURE
        away = result is not SpanExportResult.SUCCESS
        if away and not self._away:
            log.warning("traces cannot be sent; they are dropped until their collector takes them", url=self._endpoint)
        elif self._away and not away:
            log.info("traces are sent again", url=self._endpoint)
        self._away = away
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
