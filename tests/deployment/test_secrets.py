"""Secrets: made once, kept from others, and handed to the program as variables."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.deployment.compose_file import ROOT, document, s3_document

MAKE = ROOT / "docker" / "make-secrets.sh"
ENTRYPOINT = ROOT / "docker" / "entrypoint.sh"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    subprocess.run(["sh", MAKE, folder], check=True, stdout=subprocess.DEVNULL)
    return folder


def seen_by_the_program(folder: Path, **environment: str) -> dict[str, str]:
    """The EMMETD_ variables that a program sees that the entrypoint starts."""
    variables = {"PATH": os.environ["PATH"], "EMMETD_SECRETS": str(folder), **environment}
    done = subprocess.run([ENTRYPOINT, "env"], env=variables, capture_output=True, text=True, check=True)
    pairs = [line.partition("=") for line in done.stdout.splitlines()]
    return {name: value for name, _, value in pairs if name.startswith("EMMETD_")}


def test_the_script_makes_all_that_the_compose_file_names_and_keeps_what_is_there(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    subprocess.run(["sh", MAKE, secrets], check=True, stdout=subprocess.DEVNULL)

    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert before.keys() == document()["secrets"].keys() | s3_document()["secrets"].keys()
    random = [before[name] for name in ("emmetd_api_key", "postgres_password", "redis_password")]
    assert all(len(value) == 64 for value in random)
    assert len(set(random)) == 3
    assert before["postgres_password"] in before["emmetd_database_url"]
    assert before["redis_password"] in before["emmetd_redis_url"]


def test_nobody_else_on_the_machine_gets_at_them(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700


def test_each_file_becomes_a_variable_and_empty_ones_say_nothing(secrets: Path) -> None:
    found = seen_by_the_program(secrets)
    assert found == {
        f"EMMETD_{name}": (secrets / f"emmetd_{name.lower()}").read_text()
        for name in ("API_KEY", "DATABASE_URL", "REDIS_URL", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
    }


def test_a_variable_that_is_set_is_kept(secrets: Path) -> None:
    assert seen_by_the_program(secrets, EMMETD_API_KEY="mine")["EMMETD_API_KEY"] == "mine"


def test_without_secrets_the_program_starts_as_it_is(tmp_path: Path) -> None:
    assert seen_by_the_program(tmp_path / "none") == {}


def test_values_are_taken_as_they_are(tmp_path: Path) -> None:
    value = "a $HOME `id` \"'\\ b"
    (tmp_path / "emmetd_api_key").write_text(value + "\n")
    assert seen_by_the_program(tmp_path)["EMMETD_API_KEY"] == value


def test_a_secret_with_another_kind_of_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "emmetd_api-key;id").write_text("x")
    done = subprocess.run(
        [ENTRYPOINT, "env"],
        env={"PATH": os.environ["PATH"], "EMMETD_SECRETS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "letters, digits and underscores" in done.stderr
