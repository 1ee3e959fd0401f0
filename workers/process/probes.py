"""A worker's own `/livez`, `/readyz` and `/metrics`, on a port of its own."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from workers.metrics import REGISTRY
from workers.status import StatusBoard


class ProbeServer:
    """Answers while the worker loads, edits and stops. `close` frees the port."""

    def __init__(self, host: str, port: int, status: StatusBoard) -> None:
        class Handler(BaseHTTPRequestHandler):
            """Three paths; everything else is 404."""

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._send(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
                elif self.path == "/livez":
                    self._send(200, "application/json", b'{"status":"ok"}')
                elif self.path == "/readyz":
                    ready = status.stage == "ready"
                    body = {"status": "ok" if ready else status.stage, "detail": status.text}
                    self._send(200 if ready else 503, "application/json", json.dumps(body).encode())
                else:
                    self._send(404, "application/json", b'{"detail":"there is /livez, /readyz and /metrics"}')

            def _send(self, code: int, kind: str, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Probes come every few seconds; the log is for work."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="probes", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
