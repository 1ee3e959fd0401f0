"""A name becomes an adapter in a folder: versions, aliases, what is kept, and one download for all who wait."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest
from emmetd_vllm.settings import Settings

from tests.plugins.vllm.conftest import Plugin, plugin_of
from tests.plugins.vllm.stand_in_emmetd import FINGERPRINT, KEY, NAME, StandInEmmetd, adapter_files, weights, zipped
from tests.plugins.vllm.vllm_modules import LoRARequest


def test_a_version_becomes_an_adapter(plugin: Plugin, emmetd: StandInEmmetd) -> None:
    found = plugin.ask(f"{NAME}@v7")

    assert found is not None
    assert found.lora_name == f"{NAME}@v7"
    folder = Path(found.lora_path)
    assert plugin.folders == [folder]
    assert folder.is_absolute()
    assert folder.name.startswith(FINGERPRINT[:16])
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 8
    assert (folder / "adapter_model.safetensors").read_bytes() == weights()
    assert emmetd.asked[-1] == f"/v1/models/{NAME}/versions/v7/export?format=peft&max_rank=512"
    assert set(emmetd.keys) == {f"Bearer {KEY}"}


def test_the_export_is_waited_for(plugin: Plugin, emmetd: StandInEmmetd) -> None:
    emmetd.waits = 1
    assert plugin.ask(f"{NAME}@v7") is not None
    assert emmetd.downloads == ["v7", "v7"]


def test_an_alias_is_the_version_that_it_points_at(plugin: Plugin, emmetd: StandInEmmetd) -> None:
    by_alias, by_version = plugin.ask(f"{NAME}@production"), plugin.ask(f"{NAME}@v7")

    assert by_alias is not None
    assert by_version is not None
    assert by_alias.lora_name == f"{NAME}@production"
    assert by_alias.lora_path == by_version.lora_path
    assert emmetd.downloads == ["v7"]
    assert (
        f"{NAME}@v7, of rank 8, lies in {by_alias.lora_path}; {NAME}@production is that version until"
        in plugin.lines[0]
    )
    assert "until" not in plugin.lines[1]


def test_a_moved_alias_is_another_folder_when_it_is_asked_again(plugin: Plugin, emmetd: StandInEmmetd) -> None:
    before = plugin.ask(f"{NAME}@production")
    emmetd.aliases["production"] = "v8"
    after = plugin.ask(f"{NAME}@production")
    assert before is not None
    assert after is not None
    assert before.lora_path != after.lora_path
    assert emmetd.downloads == ["v7", "v8"]


def test_what_is_kept_is_not_fetched_again_after_a_restart(
    plugin: Plugin, emmetd: StandInEmmetd, caplog: pytest.LogCaptureFixture
) -> None:
    first = plugin.ask(f"{NAME}@v7")
    again = plugin_of(Settings(emmetd.url, KEY, plugin.cache), caplog).ask(f"{NAME}@v7")
    assert first == again
    assert emmetd.downloads == ["v7"]


def test_what_was_damaged_in_the_cache_is_fetched_again(plugin: Plugin, emmetd: StandInEmmetd) -> None:
    first = plugin.ask(f"{NAME}@v7")
    assert first is not None
    file = Path(first.lora_path) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert plugin.ask(f"{NAME}@v7") == first
    assert file.read_bytes() == weights()
    assert emmetd.downloads == ["v7", "v7"]


def test_what_killed_processes_left_is_removed_after_a_day(plugin: Plugin) -> None:
    assert plugin.ask(f"{NAME}@v7") is not None
    place = plugin.folders[0].parent
    for name, age in ((".old.part", 2 * 86400), (".new.part", 60)):
        (place / name).mkdir()
        os.utime(place / name, (time.time() - age,) * 2)
    assert plugin.ask(f"{NAME}@v7") is not None
    assert [one.name for one in place.glob(".*")] == [".new.part"]


def test_those_who_ask_at_a_time_share_one_download(plugin: Plugin, emmetd: StandInEmmetd) -> None:
    emmetd.gate.clear()

    async def ask() -> list[LoRARequest | None]:
        names = [f"{NAME}@v7", f"{NAME}@production", *[f"{NAME}@v7"] * 6]
        asked = [asyncio.create_task(plugin.resolver.resolve_lora(plugin.base, name)) for name in names]
        while len([path for path in emmetd.asked if path.endswith(("/v7", "/production"))]) < len(names):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        emmetd.gate.set()
        return [await one for one in asked]

    found = asyncio.run(ask())
    assert emmetd.downloads == ["v7"]
    assert len({one.lora_path for one in found if one is not None}) == 1
    assert None not in found
    assert len(plugin.folders) == 1


def test_one_who_hangs_up_takes_nothing_from_the_others(plugin: Plugin, emmetd: StandInEmmetd) -> None:
    emmetd.gate.clear()

    async def ask() -> LoRARequest | None:
        first = asyncio.create_task(plugin.resolver.resolve_lora(plugin.base, f"{NAME}@v7"))
        while not emmetd.downloads:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(plugin.resolver.resolve_lora(plugin.base, f"{NAME}@production"))
        while len(emmetd.asked) < 5:
            await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        emmetd.gate.set()
        found: LoRARequest | None = await second
        return found

    assert asyncio.run(ask()) is not None
    assert emmetd.downloads == ["v7"]


def test_processes_that_share_a_cache_do_not_hinder_each_other(
    plugin: Plugin, emmetd: StandInEmmetd, caplog: pytest.LogCaptureFixture
) -> None:
    other = plugin_of(Settings(emmetd.url, KEY, plugin.cache), caplog)
    emmetd.gate.clear()

    async def ask() -> list[LoRARequest | None]:
        asked = [asyncio.create_task(one.resolver.resolve_lora(one.base, f"{NAME}@v7")) for one in (plugin, other)]
        while len(emmetd.downloads) < 2:
            await asyncio.sleep(0.01)
        emmetd.gate.set()
        return [await one for one in asked]

    first, second = asyncio.run(ask())
    assert first is not None
    assert first == second
    assert len(plugin.folders) == 1


def test_the_same_number_on_another_server_is_another_adapter(plugin: Plugin, emmetd: StandInEmmetd) -> None:
    first = plugin.ask(f"{NAME}@v7")
    emmetd.deltas["v7"] = "a" * 64
    emmetd.exports["v7"] = zipped({**adapter_files(), "README.md": b"another"})
    second = plugin.ask(f"{NAME}@v7")
    assert first is not None
    assert second is not None
    assert first.lora_path != second.lora_path
