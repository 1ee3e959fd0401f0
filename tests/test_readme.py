"""The README's table of settings is that of the code."""

from __future__ import annotations

import re
from pathlib import Path

from configuration.settings import Settings

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_setting_stands_in_the_table_with_its_meaning() -> None:
    rows = {match[1]: match[2] for match in re.finditer(r"^\| `(\w+)` \| `EMMETD_\w+` \| .* \| (.+) \|$", README, re.M)}
    described = {name: field.description for name, field in Settings.model_fields.items() if name != "config"}
    assert rows == described


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    for command in ("run", "test"):
        assert f"make {command}" in README
        assert re.search(rf"^{command}:", makefile, re.M)
