"""Who is let in: what the settings allow, refuse and hide. TLS and passwords of the servers behind go through URLs."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import redis
import redis.asyncio
from sqlalchemy import make_url

from configuration.access_settings import require_keys
from configuration.errors import ConfigurationError, InvalidSettingError
from configuration.redis.connection import make_async_redis, make_redis
from configuration.settings import load_settings
from configuration.sources import mask_url
from store.schema.database import Database


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("EMMETD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))


def problem_of(**flags: object) -> str:
    with pytest.raises(InvalidSettingError) as refused:
        load_settings(**flags)
    (problem,) = refused.value.problems
    return problem


@pytest.mark.parametrize(
    ("flags", "needs_key"),
    [
        ({}, True),  # `emmetd serve` alone says otherwise
        ({"auth": "off"}, False),
        ({"auth": "on"}, True),
        ({"api_key": "k"}, True),
        ({"auth": "on", "host": "0.0.0.0"}, True),
        ({"api_key": "k", "host": "0.0.0.0"}, True),
    ],
)
def test_keys_are_needed_unless_that_was_switched_off(flags: dict[str, object], needs_key: bool) -> None:
    assert load_settings(**flags).needs_key is needs_key


@pytest.mark.parametrize("flags", [{}, {"auth": "auto"}, {"auth": "off"}])
def test_other_machines_are_never_let_in_without_a_key(flags: dict[str, object]) -> None:
    told = problem_of(host="0.0.0.0", **flags)
    for word in ("'0.0.0.0'", "EMMETD_API_KEY", "EMMETD_AUTH=on", "emmetd keys create", "127.0.0.1"):
        assert word in told


def test_a_key_and_no_need_for_one_contradict_each_other() -> None:
    told = problem_of(auth="off", api_key="hunter-key")
    assert "contradict" in told
    assert "hunter" not in told


def test_an_api_that_serve_did_not_start_needs_keys() -> None:
    require_keys(load_settings())
    with pytest.raises(ConfigurationError, match=r"emmetd keys create`, or set EMMETD_API_KEY"):
        require_keys(load_settings(auth="off"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"auth": "maybe"}, ["auth = 'maybe'", "loopback"]),
        ({"trusted_proxies": "10.0.0.1/8"}, ["10.0.0.1/8", "host bits"]),
        ({"trusted_proxies": "proxy.example"}, ["proxy.example", "X-Forwarded-For"]),
        ({"cors_origins": "*"}, ["'*' is not an origin", "https://host"]),
        ({"cors_origins": "https://a.example/path"}, ["without a path"]),
        ({"key_facts_per_day": -1}, ["key_facts_per_day = -1", "0 is no limit"]),
    ],
)
def test_a_refusal_says_what_would_do(flags: dict[str, object], words: list[str]) -> None:
    told = problem_of(**flags)
    assert [word for word in words if word not in told] == []


def test_lists_are_written_with_commas() -> None:
    settings = load_settings(trusted_proxies="10.0.0.0/8, ::1,", cors_origins=" https://a.example , http://[::1]:3000")
    assert [str(network) for network in settings.trusted_networks] == ["10.0.0.0/8", "::1/128"]
    assert settings.allowed_origins == ["https://a.example", "http://[::1]:3000"]
    assert (load_settings().trusted_networks, load_settings().allowed_origins) == ([], [])


def test_redis_is_spoken_to_over_tls_and_its_certificate_is_checked() -> None:
    plain = load_settings(redis_url="redis://:pw@h:6379/0")
    for url, hostname in (("rediss://u:p%40w@h:6380/1", True), ("rediss://:pw@h/0?ssl_check_hostname=false", False)):
        settings = load_settings(redis_url=url)
        for_threads = make_redis(settings, "test").connection_pool.make_connection()
        assert isinstance(for_threads, redis.SSLConnection)
        assert (for_threads.cert_reqs, for_threads.check_hostname) == (ssl.CERT_REQUIRED, hostname)
        for_tasks = make_async_redis(settings, "test").connection_pool.make_connection()
        assert isinstance(for_tasks, redis.asyncio.SSLConnection)
        context = for_tasks.ssl_context
        assert (context.cert_reqs, context.check_hostname) == (ssl.CERT_REQUIRED, hostname)
    assert type(make_redis(plain, "test").connection_pool.make_connection()) is redis.Connection
    known = make_redis(load_settings(redis_url="rediss://u:p%40w@h:6380/1?ssl_ca_certs=/ca.pem"), "test")
    arguments = known.connection_pool.connection_kwargs
    assert (arguments["username"], arguments["password"], arguments["ssl_ca_certs"]) == ("u", "p@w", "/ca.pem")


def test_postgresql_is_told_which_certificate_to_expect() -> None:
    url = "postgresql://u:p%40w@h:5433/d?sslmode=verify-full&sslrootcert=/ca.pem"
    settings = load_settings(database_url=url)
    database = Database(settings.database_url)
    _, connect = database.engine.dialect.create_connect_args(make_url(settings.database_url))
    database.close()
    assert (connect["sslmode"], connect["sslrootcert"]) == ("verify-full", "/ca.pem")
    assert (connect["host"], connect["port"], connect["password"]) == ("h", 5433, "p@w")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rediss://u:pw@h:1/0?ssl_password=pw2", "rediss://u:********@h:1/0?ssl_password=********"),
        ("postgresql://u@h/d?sslmode=require&password=pw", "postgresql://u@h/d?sslmode=require&password=********"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("sqlite:////srv/emmetd.sqlite3", "sqlite:////srv/emmetd.sqlite3"),
    ],
)
def test_passwords_are_hidden_wherever_a_url_has_them(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_the_log_hides_a_password_as_it_is_written_and_as_it_is() -> None:
    settings = load_settings(
        database_url="postgresql://u:hunter%21sql@h/d?sslpassword=hunter-file", redis_url="redis://:hunter%40redis@h/0"
    )
    hidden = {"hunter%21sql", "hunter!sql", "hunter-file", "hunter%40redis", "hunter@redis"}
    assert hidden <= set(settings.secrets())
