"""What is broken is said in plain words, what cannot be kept is refused, and nobody has to help when it is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Connection
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from tokenizers import Tokenizer

from configuration.settings import Settings
from store.lineage.models import register
from store.schema.database import Database, migrate
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact, load_model, wait_until
from tests.support.disks import Disk, mounted, read_only
from tests.support.own_server import OwnServer
from tests.support.postgres import Cluster, require_postgres
from tests.support.stand_in_worker import StandInWorker


def waits_for(api: Api) -> str:
    """What /readyz says is missing; empty where it says ready."""
    answer = api.http.get("/readyz")
    if answer.status_code == 200:
        return ""
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "2")
    return str(answer.json()["detail"])


def assert_refused(answer: httpx.Response, reason: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["code"] == "storage_unavailable"
    assert reason in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", 8) as disk:
        yield disk


def test_a_full_disk(disk: Disk, settings: Settings, tokenizer: Tokenizer, serve: Callable[..., Api]) -> None:
    here = {"database_url": f"sqlite:///{disk.folder}/emmetd.sqlite3", "blob_url": str(disk.folder / "blobs")}
    migrate(here["database_url"])
    load_model(settings.model_copy(update=here), tokenizer)
    api = serve(**here)
    assert settings.redis_url is not None
    with StandInWorker(settings.redis_url.get_secret_value(), MODEL):
        assert waits_for(api) == ""
        assert api.edit().status_code == 202

        disk.fill()

        assert_refused(api.edit([fact(1)]), "the database's disk is full; free some space")
        api.resources.storage._read_at = float("-inf")  # what it knows is a few seconds old at most
        assert "the database's disk is full" in waits_for(api)
        assert "blobs: the disk is full" in waits_for(api)
        assert len(api.http.get("/v1/edits").json()["data"]) == 1
        assert api.http.get("/livez").status_code == 200

        disk.free()

        wait_until(lambda: waits_for(api) == "", "ready again")
        assert api.edit([fact(1)]).status_code == 202
        assert len(api.http.get("/v1/edits").json()["data"]) == 2


def test_blobs_on_a_read_only_disk(api: Api, settings: Settings, worker: StandInWorker) -> None:
    with read_only(settings.blob_folder):
        assert "blobs: the disk cannot be written (Read-only file system)" in waits_for(api)
        assert api.edit().status_code == 202, "a batch is kept in SQL; its worker waits for the disk"
    wait_until(lambda: waits_for(api) == "", "ready again")


def test_blobs_that_are_away(api: Api, settings: Settings, worker: StandInWorker) -> None:
    elsewhere = settings.blob_folder.rename(settings.blob_folder.with_name("unmounted"))

    assert f"the folder of blobs {settings.blob_folder} is gone" in waits_for(api)
    assert api.edit().status_code == 202
    assert not settings.blob_folder.exists(), "nothing is written where the disk will be mounted again"

    elsewhere.rename(settings.blob_folder)
    wait_until(lambda: waits_for(api) == "", "ready again")


def test_postgresql_that_is_restarted(settings: Settings, tokenizer: Tokenizer, serve: Callable[..., Api]) -> None:
    require_postgres()
    cluster = Cluster()
    try:
        cluster.start()
        migrate(cluster.url())
        load_model(settings.model_copy(update={"database_url": cluster.url()}), tokenizer)
        api = serve(database_url=cluster.url())
        assert settings.redis_url is not None
        with StandInWorker(settings.redis_url.get_secret_value(), MODEL):
            assert waits_for(api) == ""
            cluster.stop()

            assert "the database does not answer" in waits_for(api)
            assert_refused(api.edit(), "the database does not answer; nothing was kept")

            cluster.start()
            wait_until(lambda: waits_for(api) == "", "ready again")
            kept = api.edit().json()["id"]
            wait_until(lambda: api.http.get(f"/v1/edits/{kept}").json()["state"] == "planning", "the relay goes on")
    finally:
        cluster.close()


@BOTH_DATABASES
def test_redis_that_is_restarted(tmp_path: Path, serve: Callable[..., Api], model: str) -> None:
    server = OwnServer(tmp_path / "own")
    server.start()
    try:
        api = serve(redis_url=SecretStr(server.url))
        worker = StandInWorker(server.url, model)
        worker.say("ready")
        assert waits_for(api) == ""
        server.kill()

        assert waits_for(api) == "waiting: Redis does not answer"
        kept = api.edit().json()["id"]

        server.start()
        worker.say("ready")
        wait_until(lambda: waits_for(api) == "", "ready again")
        wait_until(lambda: api.http.get(f"/v1/edits/{kept}").json()["state"] == "planning", "the relay goes on")
    finally:
        server.kill()


def test_a_database_whose_connections_are_all_in_use(api: Api, database: Database) -> None:
    engine = api.resources.database.engine
    engine.pool._timeout = 0.05  # type: ignore[attr-defined]
    held: list[Connection] = []

    def hold_all() -> None:
        while True:
            held.append(engine.connect())

    with pytest.raises(PoolTimeoutError):
        hold_all()
    try:
        assert_refused(api.http.get("/v1/edits"), "all connections are in use")
    finally:
        for connection in held:
            connection.close()
    assert api.http.get("/v1/edits").status_code == 200


def test_what_is_no_matter_of_a_disk_is_still_an_error(
    api: Api, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    def fails(*_: object) -> None:
        raise OSError("something that nobody foresaw")

    with database.writing() as session:
        register(session, "other", "a folder")
    monkeypatch.setattr("service.models.service.all_cards", fails)
    answer = api.http.get("/v1/models")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
