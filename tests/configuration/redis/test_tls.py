"""TLS to Redis for real: the certificate is looked at, and so is its name."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from redis.retry import Retry

from cli.supervision.private_redis import PrivateRedis
from configuration.redis.connection import make_async_redis, make_redis
from configuration.settings import Settings
from tests.support.programs import program


class _Forwarder(socketserver.BaseRequestHandler):
    """One connection, decrypted, to the server behind."""

    server: _TlsFront

    def handle(self) -> None:
        try:
            near = self.server.context.wrap_socket(self.request, server_side=True)
        except OSError:  # the client did not like the certificate
            return
        with near, socket.create_connection(("127.0.0.1", self.server.behind)) as far:
            back = threading.Thread(target=_copy, args=(far, near))
            back.start()
            _copy(near, far)
            back.join()


class _TlsFront(socketserver.ThreadingTCPServer):
    def __init__(self, context: ssl.SSLContext, behind: int) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarder)
        self.context = context
        self.behind = behind


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Front:
    """A server with TLS. Its certificate is for `localhost` alone, signed by itself."""

    port: int
    password: str
    certificate: Path

    def settings(self, host: str = "localhost", *, known: bool = True) -> Settings:
        authority = f"?ssl_ca_certs={self.certificate}" if known else ""
        return Settings(redis_url=f"rediss://:{self.password}@{host}:{self.port}/0{authority}")


@pytest.fixture
def front(redis_server: PrivateRedis, tmp_path: Path) -> Iterator[Front]:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [str(program("openssl")), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    url = urlsplit(redis_server.url)
    with _TlsFront(context, url.port or 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Front(server.server_address[1], url.password or "", certificate)
        server.shutdown()
        thread.join()


def ping(settings: Settings) -> bool:
    client = make_redis(settings, "test")
    client.set_retry(Retry(redis.backoff.NoBackoff(), 0))
    with client:
        return bool(client.ping())


def test_a_server_with_a_known_certificate_is_spoken_to(front: Front) -> None:
    assert ping(front.settings())

    async def ping_async() -> bool:
        client = make_async_redis(front.settings(), "test")
        try:
            return bool(await client.ping())
        finally:
            await client.aclose()

    assert asyncio.run(ping_async())


def test_an_unknown_certificate_is_refused(front: Front) -> None:
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        ping(front.settings(known=False))


def test_a_certificate_of_another_name_is_refused(front: Front) -> None:
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        ping(front.settings("127.0.0.1"))
