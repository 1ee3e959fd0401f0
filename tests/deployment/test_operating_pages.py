"""The pages on operating: what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from configuration.settings import Settings
from tests.deployment.compose_file import PATH, ROOT

FOLDER = ROOT / "docs" / "operations"
PAGES = sorted(FOLDER.glob("*.md"))
pages = pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])


@pages
def test_every_page_is_listed_and_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    assert page.name == "README.md" or f"({page.name})" in (FOLDER / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (FOLDER / target).exists(), target


@pages
def test_every_variable_exists(page: Path) -> None:
    known = {f"EMMETD_{name.upper()}" for name in Settings.model_fields}
    known |= set(re.findall(r"\$\{(\w+):-", PATH.read_text()))
    named = set(re.findall(r"\bEMMETD_[A-Z_]*[A-Z]\b", page.read_text())) - {"EMMETD_NAME"}
    assert named <= known


@pages
def test_every_file_exists(page: Path) -> None:
    named = re.findall(r"(?<![\w/.~-])((?:docker|deploy)/[\w./-]+\w)", page.read_text())
    made = {
        "docker/secrets/" + name
        for name in re.findall(r"keep_or_write (\w+)", (ROOT / "docker/make-secrets.sh").read_text())
    }
    assert [path for path in named if path not in made and not (ROOT / path).exists()] == []


@pages
def test_every_command_exists(page: Path) -> None:
    from cli.main import app

    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {str(group.name) for group in app.registered_groups}
    assert set(re.findall(r"(?<!-n )\bemmetd ([a-z]+)(?= |$|`)", page.read_text(), re.MULTILINE)) <= known
