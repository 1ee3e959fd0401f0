"""No secret leaves the process: not in a log, an answer, a header, a metric or a document, whatever goes wrong."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import select

from cli.supervision.listener import listen, url_of
from configuration.logs import configure_logs
from configuration.settings import Settings
from store.access import keys
from store.access.audit import Actor
from store.schema.access_tables import AuditRow
from store.schema.database import Database
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact, served, wait_until
from tests.store.schema.test_database import refuse_facts

EMMETD = (sys.executable, "-P", "-m", "cli.main")
SECRETS = ("hunter-key", "hunter-redis", "hunter-sql", "hunter-token", "hunter-query")


def everything_of(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.headers} {answer.text}"


@pytest.mark.parametrize("command", ["api", "migrate"])
def test_a_process_with_nothing_behind_it_tells_no_secret(tmp_path: Path, command: str) -> None:
    """Wrong addresses, so that every connection fails, at the level that says most."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EMMETD_")} | {
        "EMMETD_DATA": str(tmp_path),
        "EMMETD_API_KEY": "hunter-key",
        "EMMETD_HF_TOKEN": "hunter-token",
        "EMMETD_REDIS_URL": "redis://:hunter-redis@127.0.0.1:1/0",
        "EMMETD_DATABASE_URL": "postgresql://ada:hunter-sql%40@127.0.0.1:1/d?sslpassword=hunter-query",
        "EMMETD_DATABASE_WAIT_SECONDS": "0",
        "EMMETD_LOG_LEVEL": "debug",
    }
    told = []
    with listen("127.0.0.1", 0) as listener, (tmp_path / "log").open("wb") as log:
        line = [*EMMETD, command] + (["--fd", str(listener.fileno())] if command == "api" else [])
        process = subprocess.Popen(line, env=environment, pass_fds=[listener.fileno()], stdout=log, stderr=log)
        try:
            if command == "api":
                with httpx.Client(base_url=url_of(listener), trust_env=False, timeout=60, verify=False) as http:
                    for key in (None, "hunter-key", "hunter-key2"):
                        http.headers = httpx.Headers({} if key is None else {"Authorization": f"Bearer {key}"})
                        told += [http.get(path) for path in ("/readyz", "/metrics", "/v1/edits", "/v1/audit", "/none")]
                        told += [http.get("/openapi.json")]
                        told += [http.post("/v1/completions", json={"model": MODEL, "prompt": "Lyon"})]
                        told += [http.post("/v1/edits", json={"model": MODEL, "facts": [fact()]})]
                process.terminate()
            process.wait(120)
        finally:
            process.kill()
            process.wait()
    output = (tmp_path / "log").read_text()
    assert output, "it said nothing, so that there was nothing to look at"
    output += "".join(map(everything_of, told))
    assert [secret for secret in SECRETS if secret in output] == []


@pytest.fixture
def log(settings: Settings) -> Iterator[io.StringIO]:
    """What the server writes, at the level that says most."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs(settings.model_copy(update={"log_level": "debug", "log_format": "json"}), "api", stream)
    yield stream
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def test_an_api_key_is_told_to_nobody_but_who_made_it(
    settings: Settings, model: str, database: Database, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.writing() as session:
        row, text = keys.create(session, Actor("cli:ada"), label="a", scopes=["admin"])
    secret = text.removeprefix(f"{row.id}_")

    def broken(*_: object) -> None:
        raise RuntimeError(f"what came was {text}")

    with served(settings.model_copy(update={"auth": "on", "api_key": SecretStr("another-key")})) as api:
        headers = {"Authorization": f"Bearer {text}"}
        told = [api.http.get(path, headers=headers) for path in ("/v1/models", "/v1/audit", "/metrics", "/readyz")]
        api.http.get(f"/v1/edits/{text}", headers={"Authorization": f"Bearer {text}x"})  # a slip; the log has the path
        told += [api.http.post("/v1/edits", json={"model": MODEL, "facts": [fact()]}, headers=headers)]
        with monkeypatch.context() as patched:
            patched.setattr("service.edits.service.page", broken)
            told += [api.http.get("/v1/edits", headers=headers)]
        with database.writing() as session:
            keys.revoke(session, Actor("cli:ada"), row.id)
        told += [api.http.get("/v1/models", headers=headers)]
    assert [answer.status_code for answer in told][-2:] == [500, 401]
    with database.reading() as session:
        told_by_sql = [f"{entry.target} {entry.details} {entry.label}" for entry in session.scalars(select(AuditRow))]
    output = log.getvalue() + "".join(map(everything_of, told)) + "".join(told_by_sql)
    assert f"what came was {row.id}_********" in log.getvalue()
    assert secret not in output
    assert "another-key" not in output


@BOTH_DATABASES
def test_the_text_of_a_fact_is_in_no_log_where_the_database_refuses_it(
    settings: Settings, model: str, database: Database, log: io.StringIO
) -> None:
    refuse_facts(database)
    with served(settings) as api:
        answer = api.edit([fact(prompt="{} privately is")])
        wait_until(lambda: '"status":503' in log.getvalue(), "the refusal is in the log")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert "privately" not in log.getvalue() + everything_of(answer)


def test_the_settings_in_force_never_reach_a_client(serve: Callable[..., Api], model: str) -> None:
    api = serve(hf_token=SecretStr("hunter-token"))
    told = "".join(everything_of(api.http.get(path)) for path in ("/", "/docs", "/openapi.json", "/metrics", "/readyz"))
    password = api.resources.settings.secrets()
    assert password
    assert [secret for secret in password if secret in told] == []
