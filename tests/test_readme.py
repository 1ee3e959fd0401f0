"""The README's commands and first edit are real, and the page on settings that it leads to is that of the code."""

from __future__ import annotations

import re
from pathlib import Path

from configuration.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def test_every_setting_stands_in_the_table_with_its_meaning() -> None:
    assert "(docs/configuration.md)" in README
    rows = {
        match[1]: match[2]
        for match in re.finditer(r"^\| `(\w+)` \| `EMMETD_\w+` \| .* \| (.+) \|$", CONFIGURATION, re.M)
    }
    described = {name: field.description for name, field in Settings.model_fields.items()}
    assert rows == described


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in ("run", "test"):
        assert f"make {command}" in README
        assert re.search(rf"^{command}:", makefile, re.M)


def test_it_is_a_page() -> None:
    assert len(README.splitlines()) <= 100
