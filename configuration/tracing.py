"""Traces: where a piece of work came from, what it waited for and how long each part took, across processes.

Code says what it does by `span`, `begin` and `record`. Where no collector is named these do nothing, and the SDK of
OpenTelemetry is not even imported. A piece of work that outlives its request carries its place in the trace along as
text, a W3C `traceparent`: with its row in SQL, or with its entry on a stream.

Attributes hold ids, names of models and counts. Never what people wrote: no prompts, subjects, targets or completions,
no keys, no query strings, and no messages of errors, which quote them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import structlog
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from configuration.settings import Settings

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | float | bool | None]
"""What is None is left out."""

FLUSH_SECONDS: Final = 2.0
"""A process that ends waits for its collector for so long."""
_PATH: Final = "v1/traces"
_KINDS: Final[dict[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_PROPAGATOR: Final = TraceContextTextMapPropagator()

_tracer: Tracer | None = None

log = structlog.get_logger(__name__)


def endpoint_of(settings: Settings) -> str | None:
    """The URL that traces are sent to: the setting's, else that of OpenTelemetry's own variables; None for neither."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if settings.otlp_endpoint is not None:
        return f"{settings.otlp_endpoint.rstrip('/')}/{_PATH}"
    if os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return None
    if whole := os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return whole
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return f"{base.rstrip('/')}/{_PATH}" if base else None


@contextmanager
def running(settings: Settings, process: str) -> Iterator[None]:
    """Send the traces of this process, named `emmetd-{process}` there, while the block runs; flush them at its end.

    Whatever goes wrong with traces is logged and disturbs nothing else.
    """
    global _tracer
    endpoint = endpoint_of(settings)
    provider = None if endpoint is None else _provider(endpoint, process)
    if provider is None:
        yield
        return
    _tracer = provider.get_tracer("emmetd")
    try:
        yield
    finally:
        _tracer = None
        _end(provider)


def _provider(endpoint: str, process: str) -> TracerProvider | None:
    from configuration.trace_export import make_provider

    try:
        return make_provider(endpoint, process)
    except Exception:  # by a variable of OpenTelemetry's that makes no sense, for example
        log.exception("there will be no traces")
        return None


def _end(provider: TracerProvider) -> None:
    # The SDK would wait for a collector that is away for half a minute.
    ending = threading.Thread(target=provider.shutdown, name="trace flush", daemon=True)
    ending.start()
    ending.join(FLUSH_SECONDS)
    if ending.is_alive():
        log.warning("the last traces were not sent: their collector does not answer", seconds=FLUSH_SECONDS)


def is_on() -> bool:
    """Whether spans go anywhere."""
    return _tracer is not None


def begin(
    name: str,
    attributes: Attributes | None = None,
    *,
    kind: Kind = "internal",
    parent: str | Context | None = None,
    links: tuple[str | None, ...] = (),
    start: datetime | None = None,
) -> Span:
    """A span that does not become the current one; whoever begins it ends it.

    `parent` is a traceparent or a context that came with a request, else the current span; `links` are the
    traceparents of spans that this one has to do with.
    """
    tracer = _tracer  # it may go meanwhile
    if tracer is None:
        return trace.INVALID_SPAN
    return tracer.start_span(
        name,
        context=_context(parent) if isinstance(parent, str) else parent,
        kind=_KINDS[kind],
        attributes=_known(attributes),
        links=[Link(linked) for text in links if text is not None and (linked := _span_context(text)).is_valid],
        start_time=None if start is None else _nanoseconds(start),
    )


@contextmanager
def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    kind: Kind = "internal",
    parent: str | Context | None = None,
    links: tuple[str | None, ...] = (),
) -> Iterator[Span]:
    """A span around the block, which is the current one there. An exception marks it by its type alone."""
    if _tracer is None:
        yield trace.INVALID_SPAN
        return
    made = begin(name, attributes, kind=kind, parent=parent, links=links)
    token = contexts.attach(trace.set_span_in_context(made))
    try:
        with ending(made):
            yield made
    finally:
        contexts.detach(token)


@contextmanager
def ending(made: Span) -> Iterator[None]:
    """End a span with the block. An exception marks it by its type alone; that nobody listens any more is none."""
    try:
        yield
    except GeneratorExit:
        raise
    except BaseException as error:
        fail(type(error).__name__, made)
        raise
    finally:
        made.end()


def record(name: str, attributes: Attributes | None, *, parent: str | None, start: datetime, end: datetime) -> None:
    """A span of something that is over."""
    if _tracer is not None:
        begin(name, attributes, parent=parent, start=start).end(_nanoseconds(end))


@contextmanager
def continuing(traceparent: str | None) -> Iterator[None]:
    """Say on which trace the block works, without a span of its own: its lines of the log have the trace's id."""
    if _tracer is None or traceparent is None:
        yield
        return
    token = contexts.attach(_context(traceparent))
    try:
        yield
    finally:
        contexts.detach(token)


def note(attributes: Attributes, on: Span | None = None) -> None:
    """Add to a span, by default the current one."""
    if _tracer is not None:
        (trace.get_current_span() if on is None else on).set_attributes(_known(attributes))


def fail(reason: str, on: Span | None = None) -> None:
    """Mark a span, by default the current one, as failed. `reason` is a code or a type, never a message."""
    if _tracer is not None:
        failed = trace.get_current_span() if on is None else on
        failed.set_attribute("error.type", reason)
        failed.set_status(StatusCode.ERROR)


def traceparent(of: Span | None = None) -> str | None:
    """The place of a span, by default the current one, as text; None where there is none."""
    if _tracer is None:
        return None
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, None if of is None else trace.set_span_in_context(of))
    return carrier.get("traceparent")


def trace_id() -> str | None:
    """The trace that the current work is part of, 32 hexadecimal digits."""
    if _tracer is None:
        return None
    found = trace.get_current_span().get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else None


def from_headers(headers: Mapping[str, str]) -> Context:
    """What a client says in `traceparent` and `tracestate`; nothing where that is malformed."""
    return _PROPAGATOR.extract(headers, context=Context())


def _context(traceparent: str) -> Context:
    return _PROPAGATOR.extract({"traceparent": traceparent}, context=Context())


def _span_context(traceparent: str) -> trace.SpanContext:
    return trace.get_current_span(_context(traceparent)).get_span_context()


def _known(attributes: Attributes | None) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in (attributes or {}).items() if value is not None}


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6) * 1000
