"""The plugin and a real server of a tiny model: what reaches vLLM is the adapter that emmetd's worker made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from emmetd_vllm.settings import Settings

from tests.plugins.vllm.conftest import plugin_of
from tests.plugins.vllm.vllm_modules import Registry
from tests.support.running.server import Server
from tests.support.running.tiny_server import KEY, NAME, tiny_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with tiny_server(tmp_path_factory.mktemp("served")) as server:
        yield server


def test_versions_and_aliases_of_a_real_server(
    server: Server, registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(str(server.http.base_url), KEY, tmp_path / "cache")
    plugin = plugin_of(settings, caplog)
    plugin.base = str(server.data.parent / "model")  # the folder that emmetd serves

    by_alias, by_version, other = (plugin.ask(f"{NAME}@{one}") for one in ("production", "v1", "v2"))

    assert by_alias is not None
    assert by_version is not None
    assert other is not None
    assert by_alias.lora_path == by_version.lora_path != other.lora_path
    told = json.loads((Path(other.lora_path) / "emmetd.json").read_text())
    assert (told["model"], told["version"], told["lineage"]) == (NAME, "v2", ["v1", "v2"])
    assert not any("cannot be told" in line for line in plugin.lines)
    assert "404 version_not_found" in plugin.refused(f"{NAME}@v99")
    assert "ask vLLM for its model" in plugin.refused(f"{NAME}@v0")
    plugin.base = "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert "is of 'model'" in plugin.refused(f"{NAME}@v2")

    stranger = plugin_of(replace(settings, api_key="another"), caplog)
    assert "EMMETD_API_KEY" in stranger.refused(f"{NAME}@v1")
    made = server.http.post("/v1/keys", json={"label": "asks", "scopes": ["generate"]}).raise_for_status().json()
    asking = plugin_of(Settings(settings.url, made["secret"], tmp_path / "other"), caplog)
    assert "needs the scope edit" in asking.refused(f"{NAME}@v1")
    assert made["secret"] not in caplog.text
    assert KEY not in caplog.text
