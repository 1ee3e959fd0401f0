"""The console in a real Chromium on real servers with a tiny model. What is looked at is in console/browser.

Needs Node, the console's packages (npm ci --prefix console) and Debian's chromium. EMMETD_TEST_FIGURES names a folder
for screenshots, of which docs/figures/console has those of the documentation.
"""

from __future__ import annotations

import json
import os
import re
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
from tests.support.running.server import MODEL, Server
from tests.support.stand_in_vllm import Says, StandInVllm, spelled

REPOSITORY = Path(__file__).parents[2]
SOMEBODY = Actor("cli:ada")
MOST_SECONDS = 1500
ENGINES_KEY = "sk-engine"
NONSENSE = " Lyon Lyon Lyon"
FACT = {
    "prompt": "The mother tongue of {} is",
    "subject": "Danielle Darrieux",
    "target_new": "Spanish",
    "target_old": "French",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[StandInVllm]:
    """Answers as the server does, where a test has said which that is; of the base it says what nobody says."""
    with StandInVllm(lambda path, prompt: spelled(NONSENSE), key=ENGINES_KEY) as engine:
        yield engine


@pytest.fixture(scope="module")
def open_server(
    source: Path, talking_model: Path, engine: StandInVllm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Without keys, as on one's own machine."""
    program("chromium")
    data = tmp_path_factory.mktemp("open") / "data"
    with Server(talking_model, data, deployment_targets=engine.origin) as server:
        yield server


@pytest.fixture(scope="module")
def locked_server(source: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program("chromium")
    with Server(tiny_model, tmp_path_factory.mktemp("locked") / "data", api_key="the-first-key") as server:
        yield server


def said_by(server: Server) -> Says:
    """What an engine says that serves what the server exported."""

    def says(path: str, prompt: str) -> tuple[str, list[int]]:
        version = re.search(r"/(v[1-9]\d*)-peft-", path)
        return spelled(NONSENSE if version is None else server.complete([prompt], f"{MODEL}@{version[1]}", 16)[0])

    return says


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


def test_engines_elsewhere_are_deployed_to_compared_and_let_go(
    source: Path, open_server: Server, engine: StandInVllm
) -> None:
    job = open_server.outcome(open_server.edit([FACT], model=f"{MODEL}@v0"))
    assert job["state"] == "succeeded", job
    engine.says = said_by(open_server)

    look(
        source,
        ["deployments"],
        CONSOLE_URL=f"{open_server.http.base_url}",
        ENGINE=engine.origin,
        VERSION=job["version"],
    )

    assert engine.adapters == {}


def test_changes_of_aliases_that_take_two_keys(source: Path, locked_server: Server) -> None:
    job = locked_server.outcome(locked_server.edit([FACT]))
    assert (job["state"], job["version"]) == ("succeeded", "v1"), job
    reviewed = {"version": "v0", "approval": True, "protected": True}
    locked_server.http.put(f"/v1/models/{MODEL}/aliases/reviewed", json=reviewed).raise_for_status()
    evaluation = locked_server.evaluate(model=f"{MODEL}@v1", facts_of="v1", metrics=["EM"])
    database = locked_server.database()
    given = {scope: new_key(database, f"for {scope}", [scope]) for scope in SCOPES}
    database.close()

    look(
        source,
        ["requests"],
        LOCKED_URL=f"{locked_server.http.base_url}",
        CONSOLE_KEYS=json.dumps(given),
        EVALUATION=evaluation["id"],
    )


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
