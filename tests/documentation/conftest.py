"""A folder like a checkout, in which pages are read and their examples run."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import tiny_model as tiny_model
from tests.support.programs import compose

ROOT = Path(__file__).parents[2]
CHAT_TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message.content }}{% endfor %}"
COPIED = ("docker", "docker-compose.yml", "kubernetes")


@pytest.fixture(scope="session")
def chat_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a chat template."""
    folder = tmp_path_factory.mktemp("models") / "chat"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the pages' commands name of the repository, and `.venv`, whose commands are those of this environment."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
        else:
            shutil.copyfile(ROOT / name, folder / name)
    commands = folder / ".venv" / "bin"
    commands.mkdir(parents=True)
    (commands / "activate").write_text(f'PATH="{commands}:$PATH"\n')
    write_command(commands / "emmetd", f'exec "{sys.executable}" -P -m cli.main "$@"')
    write_command(commands / "python", f'exec "{sys.executable}" "$@"')
    return folder


@pytest.fixture
def docker(checkout: Path) -> None:
    """`docker compose` where only Compose is here: what it reads needs no Docker."""
    command = compose()
    if command[0] != "docker":
        write_command(checkout / ".venv" / "bin" / "docker", f'shift; exec "{command[0]}" "$@"')


def write_command(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def environment(checkout: Path, **chosen: str) -> dict[str, str]:
    """The machine's, without what a developer has set for emmetd, and with this repository's code."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("EMMETD_")}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "client" / "src")])
    home = checkout.parent / "home"
    home.mkdir(exist_ok=True)
    quiet = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}
    return {**bare, **quiet, "PYTHONPATH": paths, "HOME": str(home), "XDG_DATA_HOME": str(home), **chosen}
