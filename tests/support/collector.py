"""A small OpenTelemetry collector: takes spans over OTLP/HTTP, as protobuf, and keeps them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

PATIENCE_SECONDS: Final = 60


@dataclass(frozen=True)
class Seen:
    """A span as it came. `parent` is "" for a root; `start` and `end` are nanoseconds since the epoch."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    service: str
    attributes: dict[str, Any]
    events: tuple[str, ...]
    failed: bool
    start: int
    end: int

    @property
    def edit(self) -> Any:
        return self.attributes.get("emmetd.edit.id")


class Collector:
    """Listens while it is entered. With `refusing` set it answers 503, as one does that is overloaded."""

    def __init__(self) -> None:
        self.refusing = False
        self.bodies: list[bytes] = []
        self._spans: list[Seen] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                assert self.headers["Content-Type"] == "application/x-protobuf"
                if collector.refusing:
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                collector.take(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def spans(self) -> list[Seen]:
        """What has come so far, by the time at which it began."""
        return sorted(self._spans, key=lambda span: span.start)

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            (service,) = [one.value.string_value for one in resource.resource.attributes if one.key == "service.name"]
            for scope in resource.scope_spans:
                self._spans += [_seen(span, service) for span in scope.spans]

    def where(self, **wanted: Any) -> list[Seen]:
        """Spans whose fields have these values."""
        return [span for span in self.spans if all(getattr(span, name) == value for name, value in wanted.items())]

    def wait_for(self, true: Callable[[list[Seen]], object], what: str) -> list[Seen]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not true(self.spans):
            assert time.monotonic() < deadline, f"never came: {what}; there is {tree(self.spans)}"
            time.sleep(0.05)
        return self.spans


def tree(spans: list[Seen]) -> list[str]:
    """The spans' names indented below their parents, in the order in which they began."""
    known = {span.id for span in spans}

    def below(parent: str, depth: int) -> list[str]:
        children = [span for span in spans if (span.parent if span.parent in known else "") == parent]
        return [
            line
            for child in children
            for line in ("  " * depth + child.name + (" !" if child.failed else ""), *below(child.id, depth + 1))
        ]

    return below("", 0)


def _seen(span: WireSpan, service: str) -> Seen:
    return Seen(
        name=span.name,
        kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=tuple(link.span_id.hex() for link in span.links),
        service=service,
        attributes={one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes},
        events=tuple(event.name for event in span.events),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
    )
