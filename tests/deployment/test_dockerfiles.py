"""The images: small, repeatable, without rights, and the front end's without PyTorch."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deployment.compose_file import ROOT
from tests.support.programs import program

DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
ids = [path.name for path in DOCKERFILES]


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) with continued lines joined and comments left out."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    lines = [line.strip() for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
    return [(line.split()[0].upper(), line.partition(" ")[2].strip()) for line in lines]


def stages(path: Path) -> list[list[tuple[str, str]]]:
    """The instructions of each stage; what stands before the first FROM is left out."""
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions(path):
        if instruction[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def images(path: Path) -> list[list[tuple[str, str]]]:
    """What each stage that can be built as an image consists of: its own and inherited instructions."""
    whole: dict[str, list[tuple[str, str]]] = {}
    for stage in stages(path):
        base, _, name = stage[0][1].partition(" AS ")
        whole[name] = [*whole.get(base, []), *stage]
    return [found for found in whole.values() if any(word == "USER" for word, _ in found)]


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_every_base_image_is_pinned_to_a_full_version(path: Path) -> None:
    arguments = dict(line.split("=", 1) for word, line in instructions(path) if word == "ARG" and "=" in line)
    names = {stage[0][1].partition(" AS ")[2] for stage in stages(path)}
    for stage in stages(path):
        base = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], stage[0][1].partition(" AS ")[0])
        assert base in names or re.search(r":\d+\.\d+\.\d+-", base), f"{base} is not one exact image"


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_each_image_runs_without_rights_and_says_whether_it_is_healthy(path: Path) -> None:
    assert images(path)
    for image in images(path):
        users = [arguments for word, arguments in image if word == "USER"]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]), (
            "a number, so that Kubernetes can tell that it is not root"
        )
        health = [arguments for word, arguments in image if word == "HEALTHCHECK"]
        assert len(health) == 1
        assert "/livez" in health[0]
        assert [word for word, _ in image].count("ENTRYPOINT") == 1


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_nothing_is_fetched_past_the_package_installer_and_no_list_is_left_behind(path: Path) -> None:
    for word, arguments in instructions(path):
        assert word != "ADD", "COPY says what it does"
        if word == "RUN":
            assert "apt-get install" not in arguments or "rm -rf /var/lib/apt/lists" in arguments
            assert not re.search(r"\b(curl|wget|sudo|apt-get upgrade)\b", arguments)
            assert "pip install" not in arguments or "--mount=type=cache" in arguments or "--no-cache-dir" in arguments


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_dependencies_come_before_the_code_that_changes_daily(path: Path) -> None:
    for stage in stages(path):
        words = [arguments for word, arguments in stage if word in ("COPY", "RUN")]
        everything = [at for at, arguments in enumerate(words) if arguments == ". ."]
        fetched = [at for at, arguments in enumerate(words) if "requirements.txt" in arguments]
        assert not (everything and fetched), "a change of the code would fetch all dependencies again"


def test_the_front_ends_image_installs_no_pytorch() -> None:
    listed = (DOCKER / "api-requirements.txt").read_text()

    assert not re.search(r"^(torch|transformers|triton|nvidia|gguf|accelerate)\b", listed, re.MULTILINE)
    assert "torch" not in (DOCKER / "api.Dockerfile").read_text().replace("without PyTorch", "").lower()


def test_the_workers_image_reads_parquet_and_speaks_to_postgresql() -> None:
    listed = (DOCKER / "worker-requirements.txt").read_text()
    for name in ("pyarrow", "psycopg-binary"):
        assert re.search(rf"^{name}==", listed, re.MULTILINE)


@pytest.mark.parametrize("image", ["api", "worker"])
def test_each_image_can_send_traces(image: str) -> None:
    listed = (DOCKER / f"{image}-requirements.txt").read_text()
    for name in ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "protobuf"):
        assert re.search(rf"^{name}==", listed, re.MULTILINE)


def test_the_lists_of_packages_are_what_the_code_imports_and_what_was_tested() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCKER / "requirements.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_worker_has_the_pytorch_that_the_tests_ran_with() -> None:
    tested = re.search(r"^TORCH_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert tested
    shipped = re.findall(r"^ARG TORCH_VERSION=(\S+)$", (DOCKER / "worker.Dockerfile").read_text(), re.MULTILINE)
    assert shipped == [tested[1], tested[1]]


def test_only_what_the_images_are_made_of_is_sent_to_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]

    assert lines[0] == "*"
    assert {package.removesuffix("*") for package in packages} <= sent
    assert not {path for path in sent if not (ROOT / path).exists()}
    copied = {
        source
        for path in DOCKERFILES
        for word, arguments in instructions(path)
        if word == "COPY" and "--from" not in arguments
        for source in arguments.split()[:-1]
    }
    assert copied - {"."} <= sent


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_hadolint_finds_nothing(path: Path) -> None:
    done = subprocess.run([program("hadolint"), path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
