"""Whether vLLM serves the base that a version was made on: by names where they say it, by sizes where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from emmetd_vllm.settings import Settings

from tests.plugins.vllm.conftest import Plugin, plugin_of
from tests.plugins.vllm.stand_in_emmetd import BASE, HIDDEN, KEY, NAME, StandInEmmetd, adapter_files, zipped

CACHED = "models--HuggingFaceTB--SmolLM2-135M-Instruct/snapshots/0123"


def model(folder: Path, hidden: int = HIDDEN) -> str:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(f'{{"hidden_size": {hidden}}}')
    return str(folder)


@pytest.mark.parametrize("place", [NAME, "SmolLM2-135M-Instruct", CACHED])
def test_folders_whose_names_say_that_it_is_the_base(plugin: Plugin, tmp_path: Path, place: str) -> None:
    plugin.base = model(tmp_path / "models" / place)
    assert plugin.ask(f"{NAME}@v7") is not None
    assert not any("cannot be told" in line for line in plugin.lines)


@pytest.mark.parametrize("base", ["HuggingFaceTB/SmolLM2-135M", "somebody/SmolLM2-135M-Instruct", "gpt2"])
def test_another_hub_id_is_another_base(plugin: Plugin, base: str) -> None:
    plugin.base = base
    line = plugin.refused(f"{NAME}@v7")
    assert f"vLLM serves {base!r}, and {NAME}@v7 is of {BASE!r}" in line
    assert f"EMMETD_VLLM_MODEL={NAME}" in line


def test_a_folder_of_another_name_is_served_with_a_warning(plugin: Plugin, tmp_path: Path) -> None:
    plugin.base = model(tmp_path / "base")
    assert plugin.ask(f"{NAME}@v7") is not None
    assert "cannot be told from its name" in plugin.lines[0]


def test_the_hubs_cache_of_another_model_is_not_taken_for_a_folder_of_any_name(plugin: Plugin, tmp_path: Path) -> None:
    plugin.base = model(tmp_path / "models--somebody--SmolLM2-135M-Instruct" / "snapshots" / "0123")
    assert plugin.ask(f"{NAME}@v7") is not None
    assert "cannot be told from its name" in plugin.lines[0]


@pytest.mark.parametrize("place", [NAME, "base"])
def test_a_folder_of_another_size_is_another_base(plugin: Plugin, tmp_path: Path, place: str) -> None:
    plugin.base = model(tmp_path / place, hidden=960)
    assert "hidden_size 960, and smollm2-135m@v7 is of one with 576" in plugin.refused(f"{NAME}@v7")


def test_a_version_of_a_folder_on_a_hub_id_of_that_name(plugin: Plugin, emmetd: StandInEmmetd) -> None:
    emmetd.exports["v7"] = zipped(adapter_files(base="smollm2-135m-instruct"))
    assert plugin.ask(f"{NAME}@v7") is not None
    plugin.base = "HuggingFaceTB/SmolLM2-135M"
    assert "is of 'smollm2-135m-instruct'" in plugin.refused(f"{NAME}@v7")


def test_the_operator_may_say_which_model_is_served(
    plugin: Plugin, emmetd: StandInEmmetd, caplog: pytest.LogCaptureFixture
) -> None:
    told = plugin_of(Settings(emmetd.url, KEY, plugin.cache, model=NAME), caplog)
    told.base = "mirror/smollm2"
    assert told.ask(f"{NAME}@v7") is not None
    asked = len(emmetd.asked)
    assert f"EMMETD_VLLM_MODEL says that this vLLM serves {NAME}" in told.refused("another@v7")
    assert len(emmetd.asked) == asked
