"""One POST: what was looked at is what is connected to, and no receiver holds a sender for long."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from service.delivery import posting
from service.delivery.addresses import AddressGuard
from service.delivery.posting import Poster
from service.delivery.signing import body_of, headers_of
from store.clock import now
from store.webhooks.registrations import new_secret
from tests.service.delivery.receiver import Receiver, receiver
from tests.support.programs import program

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture
def listening() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def poster() -> Poster:
    return Poster(AddressGuard(LOOPBACK), 60)


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A socket that does with one connection what `answer` says; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)  # where nobody comes

        def accept() -> None:
            with suppress(OSError):  # the sender hangs up, as it should, or never comes
                connection, _ = server.accept()
                with connection:
                    answer(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join()


def test_a_message_arrives_as_the_specification_has_it(listening: Receiver, poster: Poster) -> None:
    secret, old = new_secret(), new_secret()
    body = body_of("version.published", now(), {"model": "tiny", "label": "Łódź"})

    assert poster.post(f"{listening.url}?a=b", headers_of("msg_1", now(), body, [secret, old]), body).status == 204

    (seen,) = listening.seen
    assert (seen.path, seen.headers["content-type"], seen.id) == ("/hook?a=b", "application/json", "msg_1")
    for good in (secret, old):
        said = Webhook(good).verify(seen.body, seen.headers)
        assert (said["type"], said["data"]) == ("version.published", {"model": "tiny", "label": "Łódź"})
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(seen.body, seen.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(seen.body + b" ", seen.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(seen.body, {**seen.headers, "webhook-id": "msg_2"})


def test_what_is_connected_to_is_what_was_looked_at(listening: Receiver) -> None:
    """A name that leads outside when it is registered, and inside when it is sent to."""
    answers = iter([["1.1.1.1"], ["127.0.0.1"]])
    guard = AddressGuard(resolve=lambda host, port: next(answers))
    url = f"https://rebinding.example.org:{listening.port}/"
    guard.check(url)

    outcome = Poster(guard, 60).post(url, {}, b"{}")

    assert outcome.error is not None
    assert outcome.error.startswith("address refused: 'rebinding.example.org' is 127.0.0.1")
    assert listening.seen == []
    assert next(answers, None) is None, "it was looked up once for each"


def test_a_redirect_is_not_followed(listening: Receiver, poster: Poster) -> None:
    listening.answer, listening.leads_to = lambda received: 307, listening.url

    outcome = poster.post(listening.url, {}, b"{}")

    assert (outcome.status, len(listening.seen)) == (307, 1)
    assert "redirects are not followed" in (outcome.error or "")


@pytest.mark.parametrize("status", [200, 201, 204, 400, 404, 410, 500, 503])
def test_only_2xx_is_taken_for_yes(listening: Receiver, poster: Poster, status: int) -> None:
    listening.answer = lambda received: status
    outcome = poster.post(listening.url, {}, b"{}")
    assert (outcome.status, outcome.error) == (status, None if status < 300 else f"answered {status}")


def test_what_a_receiver_asks_for_is_heard(listening: Receiver, poster: Poster) -> None:
    listening.answer = lambda received: 429
    assert poster.post(listening.url, {}, b"{}").retry_after == timedelta(seconds=120)


def test_a_receiver_that_hangs_up_or_is_away_is_an_error(listening: Receiver, poster: Poster) -> None:
    listening.answer = lambda received: None
    assert "connection failed" in (poster.post(listening.url, {}, b"{}").error or "")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "connection failed" in (poster.post(f"http://127.0.0.1:{port}/", {}, b"{}").error or "")


def test_an_answer_that_trickles_ends_at_the_deadline_and_not_after_each_byte() -> None:
    def trickle(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"H")
            time.sleep(0.02)

    with serving(trickle) as url:
        outcome = Poster(AddressGuard(LOOPBACK), 0.5).post(url, {}, b"{}")
    assert outcome.error == "no answer within 0.5 s"


def test_an_endless_head_is_cut_off(monkeypatch: pytest.MonkeyPatch, poster: Poster) -> None:
    monkeypatch.setattr(posting, "MOST_ANSWER_BYTES", 4096)

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-Much: " + b"x" * 1000 + b"\r\n")

    with serving(endless) as url:
        assert "connection failed" in (poster.post(url, {}, b"{}").error or "")


def test_a_certificate_must_be_of_the_name_and_not_of_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to an address that was looked at; who answers there is still proven by its name."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command: list[str | Path] = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    command += ["-keyout", key, "-out", certificate]
    about = ["-subj", "/CN=good.example.org", "-addext", "subjectAltName=DNS:good.example.org", "-days", "2"]
    subprocess.run([*command, *about], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)
    poster = Poster(AddressGuard(LOOPBACK, lambda host, port: ["127.0.0.1"]), 60)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            received = b""
            while not received.endswith(b"{}"):  # closed before, it would reset what is on its way
                received += secured.recv(65536)
            secured.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with serving(answer) as url:
        assert poster.post(url.replace("http://127.0.0.1", "https://good.example.org"), {}, b"{}").status == 204
    with serving(answer) as url:
        outcome = poster.post(url.replace("http://127.0.0.1", "https://other.example.org"), {}, b"{}")
    assert "CERTIFICATE_VERIFY_FAILED" in (outcome.error or "")
