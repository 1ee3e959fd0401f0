"""What keeps from writing is said in plain words, whichever database it is."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from store.blobs.folder import FolderBlobStore
from store.errors import BlobStoreAwayError
from store.schema.database import Database
from store.upkeep.availability import StorageHealth, database_trouble, disk_trouble, probe_blobs, probe_database
from tests.support.postgres import Databases

CHANGE = "UPDATE alembic_version SET version_num = version_num"


def test_both_take_writes(database: Database, tmp_path: Path) -> None:
    blobs = FolderBlobStore(tmp_path / "blobs")
    probe_database(database)
    probe_blobs(blobs)
    assert list(blobs.entries()) == [], "a probe leaves nothing behind"
    assert StorageHealth(database, blobs).problems() == []


def test_a_database_that_may_only_be_read(database: Database) -> None:
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = on" if database.is_sqlite else "SET TRANSACTION READ ONLY")
        with pytest.raises(DBAPIError) as refused:
            connection.exec_driver_sql(CHANGE)
        assert "the database is read-only" in database_trouble(refused.value)
        connection.invalidate()


def test_a_database_without_our_tables(database: Database) -> None:
    with database.engine.connect() as connection, pytest.raises(DBAPIError) as refused:
        connection.exec_driver_sql("SELECT * FROM no_table_of_ours")
    assert "emmetd migrate" in database_trouble(refused.value)


def test_a_server_that_is_not_there() -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(DBAPIError) as refused:
        probe_database(database)
    assert database_trouble(refused.value) == "the database does not answer"
    database.close()


def test_a_server_that_refuses_the_password_is_not_taken_for_one_that_is_away(postgres_databases: Databases) -> None:
    url = make_url(postgres_databases.cluster.url()).set(password="another")
    database = Database(url.render_as_string(hide_password=False))
    with pytest.raises(DBAPIError) as refused:
        probe_database(database)
    assert database_trouble(refused.value) == "the database refuses the user or password of EMMETD_DATABASE_URL"
    database.close()


def test_disks() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/blobs/x")
    assert disk_trouble(full) == "the disk is full; free some space (/srv/blobs/x)"
    assert "cannot be written (Read-only file system)" in disk_trouble(OSError(errno.EROFS, os.strerror(errno.EROFS)))
    assert "fails (Input/output error)" in disk_trouble(OSError(errno.EIO, os.strerror(errno.EIO)))


def test_those_who_ask_again_and_again_do_not_make_it_look_each_time(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    for refuses in (False, True):
        health = StorageHealth(database, FolderBlobStore(tmp_path / "blobs"))

        def look(_database: Database, refuses: bool = refuses) -> None:
            looks.append(refuses)
            if refuses:
                raise PoolTimeoutError

        monkeypatch.setattr("store.upkeep.availability.probe_database", look)
        assert [bool(health.problems()) for _ in range(20)] == [refuses] * 20
    assert looks == [False, True]


def test_a_folder_of_blobs_that_goes_away_and_comes_back(database: Database, tmp_path: Path) -> None:
    blobs = FolderBlobStore(tmp_path / "blobs")
    name = blobs.put(b"kept")
    health = StorageHealth(database, blobs)
    away = blobs.folder.rename(tmp_path / "away")
    assert health.problems() == [f"the folder of blobs {blobs.folder} is gone; is its disk or share mounted?"]
    with pytest.raises(BlobStoreAwayError):
        blobs.get(name)
    with pytest.raises(BlobStoreAwayError):
        blobs.put(b"new")
    away.rename(blobs.folder)
    deadline = time.monotonic() + 5
    while health.problems():
        assert time.monotonic() < deadline, "what was refused is looked at again after a second"
        time.sleep(0.05)
    assert blobs.get(name) == b"kept"
