"""One POST to a receiver: to addresses that were looked at, within a time and a size, and no redirect is followed."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Final

import httpcore

from service.delivery.addresses import AddressGuard, AddressRefusedError, Target, read_url
from store.webhooks.deliveries import Outcome

MOST_ANSWER_BYTES: Final = 64 * 1024
"""Status and headers lie within the first kilobyte or two; the body is not looked at."""
_LONGEST_WAIT: Final = 3600
_USER_AGENT: Final = f"emmetd-webhooks/{version('emmetd')}"


class Poster:
    """Sends from any thread. A connection is made for each message, so that its address is looked at each time."""

    def __init__(self, guard: AddressGuard, timeout_seconds: float) -> None:
        self._guard = guard
        self._timeout = timeout_seconds
        self._tls = ssl.create_default_context()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """What came of it. Tells of an answer its status alone: whatever else it says is the receiver's."""
        try:
            target = read_url(url)
            backend = _GuardedBackend(self._guard, target, time.monotonic() + self._timeout)
            return self._send(url, backend, headers, body)
        except AddressRefusedError as error:
            return Outcome(error=f"address refused: {error}"[:300])
        except (httpcore.TimeoutException, TimeoutError):
            return Outcome(error=f"no answer within {self._timeout:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            return Outcome(error=f"the connection failed: {type(error).__name__}: {error}"[:300])

    def _send(self, url: str, backend: httpcore.NetworkBackend, headers: Mapping[str, str], body: bytes) -> Outcome:
        sent = {"Content-Type": "application/json", "User-Agent": _USER_AGENT, "Connection": "close", **headers}
        seconds = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout)
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, max_connections=1, network_backend=backend) as pool,
            pool.stream(
                "POST", url, headers=list(sent.items()), content=body, extensions={"timeout": seconds}
            ) as response,
        ):
            return _outcome(response)


def _outcome(response: httpcore.Response) -> Outcome:
    status = response.status
    if 200 <= status < 300:
        return Outcome(status)
    if 300 <= status < 400:
        return Outcome(status, f"answered {status}: redirects are not followed, register the address that it leads to")
    asked = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
    wait = timedelta(seconds=min(int(asked), _LONGEST_WAIT)) if asked.isdigit() and len(asked) < 10 else None
    return Outcome(status, f"answered {status}", wait)


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that the guard has looked at, and to nothing that is looked up again."""

    def __init__(self, guard: AddressGuard, target: Target, deadline: float) -> None:
        self._guard = guard
        self._target = target
        self._deadline = deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failed: Exception = httpcore.ConnectError("no address")
        for address in self._guard.addresses(self._target):
            try:
                left = _left(self._deadline)
                stream = self._plain.connect_tcp(str(address), self._target.port, left)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _BoundedStream(stream, self._deadline, MOST_ANSWER_BYTES)
        raise failed


class _BoundedStream(httpcore.NetworkStream):
    """Ends at a moment however slowly bytes come, and after so many of them."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float, budget: int) -> None:
        self._stream = stream
        self._deadline = deadline
        self._budget = budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        content = self._stream.read(max_bytes, _left(self._deadline))
        self._budget -= len(content)
        if self._budget < 0:
            raise httpcore.ReadError(f"the answer is longer than {MOST_ANSWER_BYTES} bytes")
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _BoundedStream(
            self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline)), self._deadline, self._budget
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time is over")
    return left
