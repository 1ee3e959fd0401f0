"""The page on settings says what the settings' classes say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from configuration.documentation import COMMAND, page, settings_classes
from configuration.settings import Settings, load_settings

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


def test_the_page_is_that_of_the_code() -> None:
    assert page() == PAGE, f"settings have changed: {COMMAND}"


def test_every_setting_stands_there_once_with_its_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `EMMETD_(\w+)` \| .* \| (.+) \|$", PAGE, re.M)
    assert [variable for _, variable, _ in rows] == [name.upper() for name, _, _ in rows]
    assert sorted((name, meaning) for name, _, meaning in rows) == sorted(
        (name, field.description) for name, field in Settings.model_fields.items()
    )


def test_every_class_of_settings_has_a_section() -> None:
    assert len(re.findall(r"^## ", PAGE, re.M)) == len(list(settings_classes()))


def test_the_example_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"EMMETD_{name.upper()}", raising=False)
    example = re.search(r"```toml\n(.+?)```", PAGE, re.S)
    assert example is not None
    (tmp_path / "emmetd.toml").write_text(example[1])
    settings = load_settings(data=tmp_path)
    written = tomllib.loads(example[1])
    assert {name: getattr(settings, name) for name in written} == written


def test_what_it_links_to_is_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert targets
    assert [target for target in targets if not (Path(__file__).parents[2] / "docs" / target).exists()] == []
