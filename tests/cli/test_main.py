"""The command line: help, version, settings shown, mistakes told in one message."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("EMMETD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")


def test_help_lists_the_commands() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in ("serve", "api", "worker", "migrate", "config", "models", "bench"):
        assert f" {command} " in result.output


@pytest.mark.parametrize("command", ["serve", "api", "worker", "migrate", "config"])
def test_each_command_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"emmetd {command}" in result.output


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"emmetd {version('emmetd')}\n"


def test_config_shows_every_setting_and_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMMETD_REDIS_URL", "redis://:hunter2@h:1/0")
    result = CliRunner().invoke(app, ["config", "--api-key", "hunter-key", "--port", "9000"])
    assert result.exit_code == 0
    assert "hunter" not in result.output
    shown = tomllib.loads(result.output)
    assert shown["port"] == 9000
    assert shown["data"] == str(tmp_path / "emmetd")
    assert "port = 9000  # --port" in result.output
    assert 'redis_url = "redis://:********@h:1/0"  # EMMETD_REDIS_URL' in result.output
    assert "# threads is not set" in result.output


@pytest.mark.parametrize("command", ["serve", "api", "worker", "migrate", "config"])
def test_a_wrong_setting_ends_every_command_with_one_message(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMMETD_MAX_FACTS", "0")
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 78
    assert result.output.startswith("emmetd: max_facts = '0' (EMMETD_MAX_FACTS)")
    assert "Traceback" not in result.output


def test_a_taken_port_ends_serve_before_it_began(tmp_path: Path) -> None:
    from cli.supervision.listener import listen

    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["serve", "--port", str(port), "--data", str(tmp_path / "data")])
    assert result.exit_code == 1
    assert f"port {port} on 127.0.0.1 is in use" in result.output


def test_migrate_brings_a_database_up_to_date(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["migrate", "--data", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "emmetd.sqlite3").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["config"], ["serve", "--help"]])
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from cli.main import app; "
        f"result = CliRunner().invoke(app, {arguments!r}); assert result.exit_code == 0, result.output; "
        "heavy = {'torch', 'transformers', 'fastapi', 'sqlalchemy', 'redis', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
