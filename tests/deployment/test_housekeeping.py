"""The nightly round: a backup that is whole, retention where it is set, and no more backups than were asked for."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from store.blobs.folder import FolderBlobStore
from store.lineage import models
from store.schema.database import Database
from tests.deployment.compose_file import ROOT

SCRIPT = ROOT / "docker" / "housekeeping.py"
OLD = ("emmetd-20251120T031700Z", "emmetd-20251121T031700Z")


class Place:
    """A data folder with a model in it, a folder of backups, and `emmetd` on the path."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.backups = folder / "backups"
        self.backups.mkdir()
        database = Database(database_url)
        with database.writing() as session:
            models.register(session, "tiny", "a folder").tokenizer_blob = FolderBlobStore(folder / "blobs").put(b"t")
        database.close()
        emmetd = folder / "bin" / "emmetd"
        emmetd.parent.mkdir()
        emmetd.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli.main "$@"\n')
        emmetd.chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EMMETD_")},
            "PATH": f"{emmetd.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "EMMETD_DATA": str(folder),
            "BACKUPS": str(self.backups),
            "HOUSEKEEPING_STATE": str(folder / "state"),
        }

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), *words]
        return subprocess.run(
            command, env=self.environment | environment, capture_output=True, text=True, check=False, timeout=120
        )

    def names(self) -> list[str]:
        return sorted(path.name for path in self.backups.iterdir())


@pytest.fixture
def place(tmp_path: Path, database_url: str) -> Place:
    return Place(tmp_path, database_url)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setenv("BACKUPS", str(tmp_path))
    monkeypatch.setenv("HOUSEKEEPING_STATE", str(tmp_path / "state"))
    spec = importlib.util.spec_from_file_location("housekeeping", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_round_makes_a_whole_backup_and_only_as_many_stay_as_were_asked_for(place: Place) -> None:
    for name in (*OLD, ".emmetd-20251119T031700Z.x.part", "somebody's own"):
        (place.backups / name).mkdir()
    done = place.run(BACKUPS_KEPT="2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "retention" not in done.stdout, "nothing is set"
    before, made, not_ours = place.names()
    assert (before, not_ours) == (OLD[1], "somebody's own")
    command = [sys.executable, "-m", "cli.main", "restore", str(place.backups / made), "--check"]
    checked = subprocess.run(command, env=place.environment, capture_output=True, text=True, check=False)
    assert "is whole: 1 versions" in checked.stdout, checked.stderr
    assert place.run("--healthy").returncode == 0


def test_retention_is_applied_after_the_backup_where_it_is_set(place: Place) -> None:
    done = place.run(EMMETD_RETENTION_AUDIT_DAYS="365", EMMETD_RETENTION_FACT_DAYS="")
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.split()[1:3] for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert [words[:1] for words in told] == [["emmetd"]] * 3
    assert [words[1] for words in told] == ["backup", "retention", "versions"]
    assert "0 entries of the audit log" in done.stdout


def test_where_no_copy_could_be_made_nothing_goes_and_the_health_check_says_so(place: Place) -> None:
    for name in OLD:
        (place.backups / name).mkdir()
    done = place.run(EMMETD_DATABASE_URL=f"sqlite:///{place.folder}/none.sqlite3", EMMETD_RETENTION_AUDIT_DAYS="1")
    assert done.returncode == 1
    assert "emmetd backup failed with exit code 1; what follows is not done" in done.stderr
    assert "retention" not in done.stdout
    assert place.names() == list(OLD)
    assert place.run("--healthy").returncode == 1


@pytest.mark.parametrize(
    ("environment", "said"),
    [({"HOUSEKEEPING_AT": "25:00"}, "HOUSEKEEPING_AT = '25:00'"), ({"BACKUPS_KEPT": "0"}, "BACKUPS_KEPT = '0'")],
)
def test_a_slip_is_told_at_the_start(place: Place, environment: dict[str, str], said: str) -> None:
    done = place.run("--daily", **environment)
    assert (done.returncode, place.names()) == (1, [])
    assert said in done.stderr


def test_each_day_has_its_round_at_its_time(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    day, clock, rounds = 86_400, [1_000_000_000.0], []

    class Enough(Exception):
        pass

    def sleep(seconds: float) -> None:
        assert seconds > 0
        clock[0] += seconds

    def do_round(moment: float) -> bool:
        rounds.append(moment)
        clock[0] += 5000  # a long one
        if len(rounds) == 3:
            raise Enough
        return True

    monkeypatch.setattr(script.time, "time", lambda: clock[0])
    monkeypatch.setattr(script.time, "sleep", sleep)
    monkeypatch.setattr(script, "do_round", do_round)
    with pytest.raises(Enough):
        script.every_day(script.seconds_of_day("03:17"))
    assert [moment % day for moment in rounds] == [3 * 3600 + 17 * 60] * 3
    assert [later - earlier for earlier, later in itertools.pairwise(rounds)] == [day, day]
    assert 0 < rounds[0] - 1_000_000_000 <= day


def test_a_round_that_is_long_ago_is_not_healthy(script: ModuleType, tmp_path: Path) -> None:
    assert not script.is_healthy(0.0), "there was none"
    (tmp_path / "state").write_text("done\n")
    made = (tmp_path / "state").stat().st_mtime
    assert script.is_healthy(made + 25 * 3600)
    assert not script.is_healthy(made + 27 * 3600)
    (tmp_path / "state").write_text("failed\n")
    assert not script.is_healthy(made)
