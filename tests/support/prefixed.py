"""A proxy that serves another server below a path of its own, as people put services side by side on one host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import httpx

_HOP_BY_HOP: Final = ("connection", "content-length", "transfer-encoding", "date", "server")


@dataclass
class Prefixed:
    """`url` ends with the prefix. `asked`: the paths of all requests, those outside of the prefix included."""

    url: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def prefixed(target: str, prefix: str) -> Iterator[Prefixed]:
    """`target` below `prefix`, such as "/models/one"; everything else there is 404."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            proxy.asked.append(self.path)
            if not self.path.startswith(f"{prefix}/"):
                self._send(404, {}, b"")
                return
            asked = {name.lower(): value for name, value in self.headers.items()} | {"accept-encoding": "identity"}
            del asked["host"]
            answer = client.get(target + self.path.removeprefix(prefix), headers=asked)
            self._send(answer.status_code, answer.headers, answer.content)

        def _send(self, status: int, headers: httpx.Headers | dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Tests are told of what fails only."""

    with httpx.Client(trust_env=False, verify=False, timeout=60) as client:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        proxy = Prefixed(f"http://127.0.0.1:{server.server_address[1]}{prefix}")
        thread = threading.Thread(target=server.serve_forever, name="prefixed", daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
