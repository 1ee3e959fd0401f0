"""A proxy before a server that answers requests itself, hangs up, or lets little through, as a test asks."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """`kind`: refuse (answer `content` itself), reset (before the server saw it), lose (after the server answered), cut
    (after `bytes_through` of the answer), dribble (the answer a byte at a time, until somebody leaves)."""

    kind: str
    content: bytes = b""
    bytes_through: int = 0


def refusal(status: int, retry_after: str | None = None) -> Fault:
    body = b'{"title": "Busy", "status": %d, "detail": "busy", "code": "queue_full"}' % status
    header = f"Retry-After: {retry_after}\r\n" if retry_after else ""
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n{header}"
    return Fault("refuse", f"{head}Connection: close\r\n\r\n".encode() + body)


RESET, LOST = Fault("reset"), Fault("lose")


class FaultProxy:
    """`faults` are for the next requests, one each; those after them pass. `passed` is what the server was asked."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.passed: list[str] = []
        self._ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            request = _request(near)
            line = request.partition(b"\r\n")[0].decode()
            fault = self.faults.pop(0) if self.faults else Fault("none")
            self.asked.append(line)
            if fault.kind == "refuse":
                near.sendall(fault.content)
            elif fault.kind == "reset":
                _reset(near)
            else:
                self._pass(near, request, line, fault)

    def _pass(self, near: socket.socket, request: bytes, line: str, fault: Fault) -> None:
        self.passed.append(line)
        with socket.create_connection(("127.0.0.1", self._target)) as far:
            # One request a connection, so that each request meets its own fault.
            far.sendall(re.sub(rb"(?i)connection: keep-alive", b"Connection: close", request, count=1))
            sent = 0
            while piece := far.recv(65536):
                if fault.kind == "lose":
                    continue
                if fault.kind == "dribble":
                    head, _, body = piece.partition(b"\r\n\r\n")
                    near.sendall(head + b"\r\n\r\n")
                    for byte in body[:-1]:
                        near.sendall(bytes([byte]))
                        if self._ended.wait(0.05):
                            return
                    self._ended.wait(30)
                    return
                if fault.kind == "cut" and sent + len(piece) > fault.bytes_through:
                    near.sendall(piece[: fault.bytes_through - sent])
                    break
                near.sendall(piece)
                sent += len(piece)
        if fault.kind in ("lose", "cut"):
            _reset(near)


def _request(near: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += near.recv(65536) or _gone()
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length is not None and len(body) < int(length[1]):
        more = near.recv(65536) or _gone()
        body += more
        received += more
    return received


def _gone() -> bytes:
    raise ConnectionResetError("the client left")


def _reset(near: socket.socket) -> None:
    """Hang up so that the other side gets a reset, not an end."""
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def proxied(port: int) -> Iterator[FaultProxy]:
    proxy = FaultProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
