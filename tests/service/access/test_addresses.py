"""Where a request comes from: nobody writes another's address into the log, and no web page speaks for its reader."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.requests import HTTPConnection

from configuration.settings import Settings
from service.access.addresses import client_address
from store.access import audit
from store.schema.database import Database
from tests.service.conftest import MODEL, Api, fact


def connection(peer: str | None, *forwarded: str) -> HTTPConnection:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return HTTPConnection({"type": "http", "client": None if peer is None else (peer, 1), "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["10.9.9.9"], "192.0.2.1"),  # not a proxy of ours: what it writes is its own
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),  # the client wrote 1.1.1.1
        ("10.0.0.1", ["1.1.1.1", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.7, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("::1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        (None, ["198.51.100.7"], None),
    ],
)
def test_the_last_address_that_is_no_trusted_proxy(peer: str | None, forwarded: list[str], address: str | None) -> None:
    trusted = Settings(trusted_proxies="10.0.0.0/8, ::1").trusted_networks
    assert client_address(connection(peer, *forwarded), trusted) == address


@pytest.mark.parametrize(("trusted", "address"), [("", "127.0.0.1"), ("127.0.0.0/8", "198.51.100.7")])
def test_the_audit_log_has_the_clients_address(
    serve: Callable[..., Api], model: str, database: Database, trusted: str, address: str
) -> None:
    api = serve(trusted_proxies=trusted)
    headers = {"X-Forwarded-For": "1.1.1.1, 198.51.100.7"}
    assert api.http.post("/v1/edits", json={"model": MODEL, "facts": [fact()]}, headers=headers).status_code == 202
    with database.reading() as session:
        row = audit.page(session, None, 1)[0]
    assert (row.action, row.actor, row.address) == ("edit.accepted", "local", address)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "127.0.0.9"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ({"Host": "localhost:8000", "Origin": "https://mine.example"}, 200),
        ({"Host": "attacker.example"}, 403),
        ({"Host": "localhost.attacker.example"}, 403),
        ({"Host": "127.0.0.1@attacker.example"}, 403),
        ({"Host": "192.0.2.1"}, 403),
        ({"Host": "localhost:8000", "Origin": "http://attacker.example"}, 403),
        ({"Host": "localhost:8000", "Origin": "http://localhost:3000"}, 403),
        ({"Host": "localhost:8000", "Origin": "null"}, 403),
    ],
)
def test_without_keys_no_page_of_another_site_is_answered(
    serve: Callable[..., Api], model: str, headers: dict[str, str], status: int
) -> None:
    answer = serve(cors_origins="https://mine.example").http.get("/v1/models", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "forbidden"
        assert "EMMETD_" in answer.json()["detail"]
