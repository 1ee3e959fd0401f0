"""What is not served: None for vLLM, and one line that names cause and remedy, in which the key never stands."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from emmetd_vllm.archive import unpack
from emmetd_vllm.errors import ArchiveError
from emmetd_vllm.settings import Settings

from tests.plugins.vllm.conftest import Plugin, plugin_of
from tests.plugins.vllm.stand_in_emmetd import KEY, NAME, StandInEmmetd, adapter_files, problem, zipped

RANK = "layer 8 has rank 600; in 512 ranks it would be off by 0.03. Formats that fit: format=hf"


@pytest.mark.parametrize(
    "name", ["gpt-4", NAME, "@v7", f"{NAME}@", f"{NAME}@../v7", f"{NAME}@v7@v8", f"A/B@v7\n{NAME}"]
)
def test_names_that_are_not_of_emmetd_are_not_asked_for(plugin: Plugin, emmetd: StandInEmmetd, name: str) -> None:
    assert "no NAME@VERSION of emmetd" in plugin.refused(name)
    assert emmetd.asked == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("another@v7", "there is no model 'another'; there is smollm2-135m"),
        (f"{NAME}@v99", "there is no smollm2-135m@v99; there are v0 to v8"),
        (f"{NAME}@staging", "there is no smollm2-135m@staging"),
        (f"{NAME}@v0", "ask vLLM for its model by the name that it is served as"),
    ],
)
def test_names_of_nothing(plugin: Plugin, emmetd: StandInEmmetd, name: str, says: str) -> None:
    assert says in plugin.refused(name)
    assert emmetd.downloads == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((422, "rank_limit_exceeded", RANK), "serve format=hf, or consolidate the version"),
        ((403, "scope_missing", "this needs the scope edit"), "needs the scope edit, for this model"),
        ((403, "model_not_granted", "not for this model"), "needs the scope edit, for this model"),
        ((500, "internal", "the export failed"), "the export failed"),
    ],
)
def test_exports_that_emmetd_refuses(
    plugin: Plugin, emmetd: StandInEmmetd, answer: tuple[int, str, str], says: str
) -> None:
    emmetd.problems["v7"] = answer
    line = plugin.refused(f"{NAME}@v7")
    assert answer[2] in line
    assert says in line
    assert plugin.folders == []


@pytest.mark.parametrize("family", ["gpt2", "gptj"])
def test_families_that_vllm_takes_no_adapters_for(plugin: Plugin, emmetd: StandInEmmetd, family: str) -> None:
    emmetd.family = family
    assert f"no adapters for {family}; export it with format=hf" in plugin.refused(f"{NAME}@v7")
    assert emmetd.downloads == []


def test_a_key_that_is_not_good_is_refused_and_stands_in_no_line(
    plugin: Plugin, emmetd: StandInEmmetd, caplog: pytest.LogCaptureFixture
) -> None:
    emmetd.key = "another"
    line = plugin.refused(f"{NAME}@v7")
    assert "EMMETD_API_KEY" in line
    assert "401" in line
    assert f"Bearer {KEY}" in emmetd.keys  # which the stand-in repeats in its answer
    assert KEY not in caplog.text
    assert KEY not in repr(plugin.resolver._settings)


def test_an_emmetd_that_is_away_and_comes_back(
    plugin: Plugin, emmetd: StandInEmmetd, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emmetd_vllm.adapters._RETRIES", 0)
    with StandInEmmetd() as gone:
        pass
    away = plugin_of(Settings(gone.url, KEY, plugin.cache), caplog)
    line = away.refused(f"{NAME}@v7")
    assert "cannot be reached" in line
    assert "EMMETD_URL" in line
    assert plugin.ask(f"{NAME}@v7") is not None


def test_requests_that_waited_for_a_refusal_are_not_asked_for_anew(
    plugin: Plugin, emmetd: StandInEmmetd, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin.refused(f"{NAME}@v99")
    asked = len(emmetd.asked)
    assert plugin.ask(f"{NAME}@v99") is None
    assert len(emmetd.asked) == asked
    assert len(plugin.lines) == 1
    monkeypatch.setattr(f"{type(plugin.resolver).__module__}._SAME_ANSWER_SECONDS", 0.0)
    emmetd.deltas["v99"], emmetd.exports["v99"] = "9" * 64, zipped(adapter_files("v99"))
    assert plugin.ask(f"{NAME}@v99") is not None


def test_an_export_that_takes_too_long(plugin: Plugin, emmetd: StandInEmmetd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emmetd_vllm.adapters._FETCH_SECONDS", 0.2)
    emmetd.gate.clear()
    assert "see whether a worker of the model is ready" in plugin.refused(f"{NAME}@v7")
    assert plugin.folders == []


def test_what_nobody_thought_of_is_not_raised_into_vllm(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*arguments: Any) -> None:
        raise ZeroDivisionError(f"with the key {KEY}\nin two lines")

    monkeypatch.setattr(plugin.resolver._adapters, "get", broken)
    line = plugin.refused(f"{NAME}@v7")
    assert "ZeroDivisionError: with the key (EMMETD_API_KEY) in two lines" in line


def test_a_request_that_ends_is_not_held_up(plugin: Plugin, emmetd: StandInEmmetd) -> None:
    """Cancelling is the only thing that passes."""
    emmetd.gate.clear()

    async def ask() -> None:
        asked = asyncio.create_task(plugin.resolver.resolve_lora(plugin.base, f"{NAME}@v7"))
        while not emmetd.downloads:
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        emmetd.gate.set()

    asyncio.run(ask())
    assert plugin.folders == []


def test_a_cache_that_cannot_be_written(plugin: Plugin) -> None:
    plugin.cache.write_text("a file")
    assert "EMMETD_VLLM_CACHE" in plugin.refused(f"{NAME}@v7")


def without(name: str) -> bytes:
    files = adapter_files()
    del files[name]
    return zipped(files)


def linked() -> bytes:
    """A symbolic link, as Info-ZIP keeps them."""
    content = BytesIO(zipped(adapter_files()))
    with zipfile.ZipFile(content, "a") as archive:
        link = zipfile.ZipInfo("link.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return content.getvalue()


def unlisted() -> bytes:
    return zipped({**adapter_files(), "more.json": b"{}"}, adapter_files())


def changed() -> bytes:
    return zipped({**adapter_files(), "adapter_model.safetensors": b"other"}, adapter_files())


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (changed, "adapter_model.safetensors of the export is not what SHA256SUMS says"),
        (unlisted, "more.json of the export is not what SHA256SUMS says"),
        (lambda: zipped({**adapter_files(), "../outside.json": b"{}"}), "'../outside.json', which no adapter"),
        (lambda: zipped({**adapter_files(), "/tmp/outside.json": b"{}"}), "'/tmp/outside.json', which no adapter"),
        (lambda: zipped({**adapter_files(), "folder/inside.json": b"{}"}), "'folder/inside.json', which no adapter"),
        (lambda: zipped({**adapter_files(), "adapter_model.bin": b"pickle"}), "'adapter_model.bin', which no adapter"),
        (lambda: zipped({**adapter_files(), "code.py": b"import os"}), "'code.py', which no adapter"),
        (linked, "'link.json', which no adapter"),
        (lambda: zipped({**adapter_files(), **{f"{n}.json": b"{}" for n in range(100)}}), "more than 100 files"),
        (lambda: without("adapter_model.safetensors"), "no adapter_model.safetensors"),
        (lambda: zipped({**adapter_files(), "adapter_config.json": b'{"peft_type": "IA3"}'}), "not that of a LoRA"),
        (lambda: zipped({**adapter_files(), "emmetd.json": b"[]"}), "emmetd.json of the export is not a JSON object"),
        (lambda: zipped(adapter_files("v6")), f"says that it is {NAME}@v6"),
        (lambda: zipped(adapter_files(base_fingerprint="../..")), "does not name its base"),
        (lambda: zipped({**adapter_files(), "adapter_model.safetensors": b"x" * 64}), "no safetensors file"),
        (lambda: zipped(adapter_files())[:-100], "cannot be unpacked"),
        (lambda: b"<html>a proxy's page</html>", "cannot be unpacked"),
    ],
)
def test_archives_that_are_not_unpacked(
    plugin: Plugin, emmetd: StandInEmmetd, made: Callable[[], bytes], says: str, tmp_path: Path
) -> None:
    (served := tmp_path / NAME).mkdir()
    (served / "config.json").write_text('{"hidden_size": 576}')
    plugin.base = str(served)
    emmetd.exports["v7"] = made()
    before = set(tmp_path.iterdir())
    assert says in plugin.refused(f"{NAME}@v7")
    assert set(tmp_path.iterdir()) - before <= {plugin.cache}
    if says != "no safetensors file":  # of which the sums are right: it lies there, and is not given to vLLM
        assert plugin.folders == []


def test_downloads_are_bounded(plugin: Plugin, emmetd: StandInEmmetd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emmetd_vllm.archive.MOST_BYTES", 1000)
    assert "larger than max_bytes, 1000" in plugin.refused(f"{NAME}@v7")
    assert plugin.folders == []


def test_what_is_unpacked_is_bounded(tmp_path: Path) -> None:
    archive, folder = tmp_path / "bomb.zip", tmp_path / "content"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for number in range(5):
            zipped.writestr(f"{number}.json", bytes(3 << 20))
    assert archive.stat().st_size < 100_000
    folder.mkdir()
    with pytest.raises(ArchiveError, match="larger than 4194304 bytes"):
        unpack(archive, folder, most_bytes=4 << 20)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 6 << 20


def test_a_server_that_is_no_emmetd(plugin: Plugin, emmetd: StandInEmmetd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emmetd, "answer", lambda path, key: (200, b"<html></html>", {"Content-Type": "text/html"}))
    assert "cannot be read by emmetd-client" in plugin.refused(f"{NAME}@v7")
    monkeypatch.setattr(emmetd, "answer", lambda path, key: problem(404, "http_404", "nothing here"))
    assert "nothing here" in plugin.refused(f"{NAME}@v8")
