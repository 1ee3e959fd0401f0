"""The console in a real Chromium on real servers with a tiny model. What is looked at is in console/browser.

Needs Node, the console's packages (npm ci --prefix console) and Debian's chromium. EMMETD_TEST_FIGURES names a folder
for screenshots, of which docs/figures/console has those of the documentation.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api_schemas.access import SCOPES, Scope
from store.access import keys
from store.access.audit import Actor
from store.schema.database import Database
from tests.support.programs import program
from tests.support.running.server import Server

REPOSITORY = Path(__file__).parents[2]
SOMEBODY = Actor("cli:ada")
MOST_SECONDS = 1500


@pytest.fixture(scope="module")
def open_server(source: Path, talking_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Without keys, as on one's own machine."""
    program("chromium")
    with Server(talking_model, tmp_path_factory.mktemp("open") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def locked_server(source: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program("chromium")
    with Server(tiny_model, tmp_path_factory.mktemp("locked") / "data", api_key="the-first-key") as server:
        yield server


def new_key(database: Database, label: str, scopes: list[Scope]) -> str:
    with database.writing() as session:
        return keys.create(session, SOMEBODY, label=label, scopes=scopes)[1]


def look(source: Path, names: list[str], **environment: str) -> None:
    """Run tests of console/browser, all of which must pass."""
    command: list[Any] = [program("npx"), "vitest", "run", "--config", "vitest.browser.config.ts"]
    figures = os.environ.get("EMMETD_TEST_FIGURES", "")
    chosen = {"CHROMIUM": str(program("chromium")), "FIGURES": figures, "NO_COLOR": "1", "CI": "1", **environment}
    done = subprocess.run(
        [*command, *(f"browser/{name}.test.ts" for name in names)],
        cwd=source,
        env={**os.environ, **chosen},
        capture_output=True,
        text=True,
        check=False,
        timeout=MOST_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    assert f"Test Files  {len(names)} passed" in done.stdout


def test_from_a_fresh_server_a_fact_is_corrected_seen_reverted_and_found_again(
    source: Path, open_server: Server
) -> None:
    look(source, ["flow"], CONSOLE_URL=f"{open_server.http.base_url}")


def test_every_room_on_a_phone_and_a_desk_light_and_dark(source: Path, open_server: Server) -> None:
    look(source, ["rooms"], CONSOLE_URL=f"{open_server.http.base_url}")


def test_files_are_looked_at_before_they_are_sent(source: Path, open_server: Server) -> None:
    look(source, ["input"], CONSOLE_URL=f"{open_server.http.base_url}")


def test_keys_of_each_scope_behind_a_prefix_a_revoked_one_and_a_server_that_is_away(
    source: Path, locked_server: Server
) -> None:
    database = locked_server.database()
    given: dict[str, str] = {scope: new_key(database, f"for {scope}", [scope]) for scope in SCOPES}
    given["revoked"] = new_key(database, "to be revoked", ["admin"])
    database.close()
    revoke = [sys.executable, "-P", "-m", "cli.main", "keys", "revoke", given["revoked"]]

    look(
        source,
        ["access"],
        LOCKED_URL=f"{locked_server.http.base_url}",
        CONSOLE_KEYS=json.dumps(given),
        REVOKE=f"cd {shlex.quote(str(REPOSITORY))} && {shlex.join([*revoke, '--data', str(locked_server.data)])}",
        PYTHONPATH=str(REPOSITORY),
    )
