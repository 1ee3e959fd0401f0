"""`emmetd doctor`: a sound installation has no failure, and each thing that is broken is named with a remedy."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from cli.commands import checks
from cli.main import app
from cli.supervision.private_redis import PrivateRedis
from configuration.settings import load_settings
from store.blobs.folder import FolderBlobStore
from store.lineage import models
from store.schema.database import Database
from tests.conftest import BOTH_DATABASES
from tests.support.disks import mounted, read_only
from tests.support.tiny_models import CONFIGS

Doctor = Callable[..., tuple[int, dict[str, list[dict[str, Any]]]]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, redis_server: PrivateRedis) -> Doctor:
    """Its exit code, and its findings by subject. The installation is sound but for what a test breaks."""
    for name in os.environ:
        if name.startswith("EMMETD_"):
            monkeypatch.delenv(name)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "statistics").mkdir()
    (tmp_path / "statistics" / "layer-1-x.safetensors").write_bytes(b"C0")
    monkeypatch.setenv("EMMETD_DATA", str(tmp_path))
    monkeypatch.setenv("EMMETD_DATABASE_URL", database_url)
    monkeypatch.setenv("EMMETD_REDIS_URL", redis_server.url)
    monkeypatch.setenv("EMMETD_MODEL", str(folder))
    monkeypatch.setattr(checks, "LITTLE_DISK_BYTES", 1)
    database = Database(database_url)
    with database.writing() as session:
        models.register(session, "tiny", "a folder").tokenizer_blob = FolderBlobStore(tmp_path / "blobs").put(b"t")
    database.close()

    def run(*words: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
        done = CliRunner().invoke(app, ["doctor", "--json", *words])
        found: dict[str, list[dict[str, Any]]] = {}
        for line in done.stdout.splitlines():
            finding = json.loads(line)
            found.setdefault(finding["subject"], []).append(finding)
        return done.exit_code, found

    return run


def levels(found: dict[str, list[dict[str, Any]]], subject: str) -> list[str]:
    return [finding["level"] for finding in found[subject]]


@BOTH_DATABASES
def test_a_sound_installation(doctor: Doctor, database_url: str) -> None:
    code, found = doctor("--deep")

    assert code == 0
    assert [finding for findings in found.values() for finding in findings if finding["level"] == "fail"] == []
    subjects = ["installation", "disk", "database", "redis", "store", "model", "c0", "device", "memory", "consistency"]
    assert set(found) == {*subjects, "clock"}
    clocks = [finding["found"] for finding in found["clock"]]
    assert len(clocks) == (1 if database_url.startswith("sqlite") else 2)
    assert "1 blobs match their hashes" in found["consistency"][0]["found"]
    # The tests' own PostgreSQL does without what a real one needs.
    assert ("fsync = off" in str(found["database"])) == database_url.startswith("postgresql")


def test_people_get_lines_with_remedies(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMMETD_DATABASE_URL", f"sqlite:///{tmp_path}/none.sqlite3")
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0
    assert f"warn  database      sqlite:///{tmp_path}/none.sqlite3 is not there yet" in done.stdout
    assert "→ `emmetd serve` and `emmetd migrate` make it" in done.stdout


def test_a_database_without_tables(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty.sqlite3").touch()
    monkeypatch.setenv("EMMETD_DATABASE_URL", f"sqlite:///{tmp_path}/empty.sqlite3")
    code, found = doctor()
    assert (code, levels(found, "database")) == (1, ["fail"])
    assert found["database"][0]["remedy"] == "run `emmetd migrate`"


def test_servers_that_do_not_answer(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMMETD_DATABASE_URL", "postgresql://somebody:hidden@127.0.0.1:1/none")
    monkeypatch.setenv("EMMETD_REDIS_URL", "redis://:hidden@127.0.0.1:1/0")
    code, found = doctor()
    assert (code, levels(found, "database"), levels(found, "redis")) == (1, ["fail"], ["fail"])
    assert "the database does not answer" in found["database"][0]["found"]
    assert "hidden" not in json.dumps(found)


def test_a_redis_that_forgets_and_drops(doctor: Doctor, redis_server: PrivateRedis) -> None:
    with redis.Redis.from_url(redis_server.url) as server:
        server.config_set("appendonly", "no")
        server.config_set("maxmemory", "100mb")
        server.config_set("maxmemory-policy", "allkeys-lru")
        try:
            code, found = doctor()
        finally:
            server.config_set("appendonly", "yes")
            server.config_set("maxmemory", "0")
            server.config_set("maxmemory-policy", "noeviction")
    assert (code, levels(found, "redis")) == (0, ["ok", "warn", "warn"])


def test_a_clock_that_is_off(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(checks.time, "time", lambda: real() - 90)
    _, found = doctor()
    assert levels(found, "clock") == ["warn"]
    assert "s ahead" in found["clock"][0]["found"]


def test_a_store_that_is_broken(doctor: Doctor, tmp_path: Path) -> None:
    (blob,) = (tmp_path / "blobs").rglob("*/*")
    blob.write_bytes(b"x")
    assert doctor()[0] == 0, "blobs are read only when that is asked for"
    code, found = doctor("--deep")
    assert (code, levels(found, "consistency")) == (1, ["fail"])
    assert "does not match its hash" in found["consistency"][0]["found"]

    shutil.rmtree(tmp_path / "blobs")
    (tmp_path / "blobs").touch()
    code, found = doctor()
    assert (code, levels(found, "store")) == (1, ["fail"])


def test_only_folders_that_are_used_must_be_writable(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in the API's container: its root is read-only, blobs are a volume, and no worker runs in it."""
    data = tmp_path / "image" / "data"
    data.mkdir(parents=True)
    monkeypatch.setenv("EMMETD_DATA", str(data))
    monkeypatch.setenv("EMMETD_BLOB_URL", str(tmp_path / "blobs"))
    installed = checks._installed
    with read_only(tmp_path / "image"):
        code, found = doctor()
        assert (code, levels(found, "disk")[0]) == (1, "fail")
        assert f"{data} cannot be written, for models and statistics" in found["disk"][0]["found"]
        assert "EMMETD_DATA" in found["disk"][0]["remedy"]

        monkeypatch.setattr(checks, "_installed", lambda name: name != "torch" and installed(name))
        code, found = doctor()
        assert (code, levels(found, "disk")) == (0, ["ok"])
        assert f"for the database in {tmp_path}, blobs in {tmp_path}/blobs" in found["disk"][0]["found"]

        monkeypatch.setenv("EMMETD_BLOB_URL", str(tmp_path / "image" / "blobs"))
        code, found = doctor()
        assert (code, found["disk"][0]["level"]) == (1, "fail")
        assert found["disk"][0]["remedy"].endswith("choose another with EMMETD_BLOB_URL")


def test_each_file_system_that_is_nearly_full_is_named(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with mounted(tmp_path / "share", 8):
        monkeypatch.setattr(checks, "LITTLE_DISK_BYTES", 16 * 1024**2)
        monkeypatch.setenv("EMMETD_BLOB_URL", str(tmp_path / "share" / "blobs"))
        code, found = doctor()
    assert (code, levels(found, "disk")) == (0, ["ok", "warn"])
    assert f"free for blobs in {tmp_path}/share/blobs" in found["disk"][1]["found"]


def test_a_model_that_fits_and_one_that_does_not(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert levels(doctor()[1], "memory") == ["warn"], "its configuration is no model's"
    CONFIGS["llama"].save_pretrained(tmp_path / "model")
    (memory,) = doctor()[1]["memory"]
    assert memory["level"] == "ok"
    assert re.search(r"takes at most [\d.]+ GB of host's memory \(matrix cache ", memory["found"])

    monkeypatch.setenv("EMMETD_MATRIX_CACHE_BYTES", "900TiB")
    assert levels(doctor()[1], "memory") == ["warn"]
    monkeypatch.setenv("EMMETD_MEMORY_PLAN", "enforced")
    code, found = doctor()
    assert (code, levels(found, "memory")) == (1, ["fail"])
    assert "does not fit: at its peak" in found["memory"][0]["found"]
    assert "set EMMETD_MATRIX_CACHE_BYTES=" in found["memory"][0]["found"]


def test_a_machine_that_keeps_nothing(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load_settings(
        database_url="postgresql://somebody@nowhere/none", blob_url="s3://bucket/prefix", data=tmp_path / "none"
    )
    monkeypatch.setattr(checks, "_installed", lambda name: name != "torch")
    assert [(one.level, "nothing is kept here" in one.found) for one in checks.disk(settings)] == [("ok", True)]


def test_a_model_that_is_none_and_a_gpu_that_is_not_there(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    (tmp_path / "statistics" / "layer-1-x.safetensors").unlink()
    monkeypatch.setenv("EMMETD_DEVICE", "cuda:7")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, found = doctor()
    assert (code, levels(found, "model"), levels(found, "c0"), levels(found, "device")) == (
        1,
        ["fail"],
        ["warn"],
        ["fail"],
    )
