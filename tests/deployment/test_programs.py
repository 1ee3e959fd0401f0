"""The tools that tests need: CI can have each of them, and one that is missing there is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deployment.compose_file import ROOT
from tests.support import programs


def test_every_tool_is_debians_or_of_the_extra_that_ci_installs() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["deployment"]
    known = {requirement.partition("==")[0] for requirement in extra}
    for remedy in programs.SOURCES.values():
        if remedy.startswith("install Node"):  # the console's own tests, where there is one
            continue
        how, package = remedy.rsplit(" ", 1)
        assert how == "apt-get install" or (how == "pip install" and package in known)


def test_only_what_is_missing_is_to_be_installed(tmp_path: Path) -> None:
    """In a place where nothing is installed but kubectl."""
    (tmp_path / "kubectl").symlink_to("/bin/true")
    command = [sys.executable, "-m", "tests.support.programs"]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    packages = done.stdout.split()
    assert {"prometheus", "redis-tools", "iproute2"} <= set(packages)
    assert "kubernetes-client" not in packages
    assert packages == sorted(set(packages))


def test_a_tool_that_is_missing_fails_the_test_where_tools_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "SOURCES", {"no-such-program": "apt-get install none"})
    monkeypatch.delenv(programs.REQUIRE, raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install none"):
        programs.program("no-such-program")
    monkeypatch.setenv(programs.REQUIRE, "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install none"):
        programs.program("no-such-program")


def test_ci_requires_what_it_has_installed() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert f"if tools; then\n    export {programs.REQUIRE}=1\n" in script
