"""What vLLM calls when it starts: the resolver is there, or a line says why not; nothing is raised."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tests.plugins.vllm.conftest import BOUND_TO_VLLM
from tests.plugins.vllm.vllm_modules import LoRAResolver, Registry


def register() -> None:
    importlib.import_module("emmetd_vllm.plugin").register()


def test_it_registers_once_however_often_it_is_loaded(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EMMETD_URL", "http://127.0.0.1:8000")
    monkeypatch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "True")
    register()
    register()
    assert [*registry.resolvers] == ["emmetd"]
    assert isinstance(registry.resolvers["emmetd"], LoRAResolver)
    assert caplog.messages == []


def test_without_an_address_it_does_nothing(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    register()
    assert registry.resolvers == {}
    assert "EMMETD_URL is not set" in caplog.text


def test_it_says_that_vllm_resolves_no_names(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EMMETD_URL", "http://127.0.0.1:8000")
    register()
    assert "set VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in caplog.text


def test_a_name_that_is_none_keeps_it_from_registering(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EMMETD_URL", "http://127.0.0.1:8000")
    monkeypatch.setenv("EMMETD_VLLM_MODEL", "HuggingFaceTB/SmolLM2")
    register()
    assert registry.resolvers == {}
    assert "EMMETD_VLLM_MODEL is 'HuggingFaceTB/SmolLM2', which is no NAME of emmetd" in caplog.text


def test_a_vllm_without_resolvers_starts_nevertheless(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EMMETD_URL", "http://127.0.0.1:8000")
    monkeypatch.setitem(sys.modules, "vllm.lora.resolver", None)
    for name in BOUND_TO_VLLM:
        monkeypatch.delitem(sys.modules, name, raising=False)
    register()
    assert "this vLLM has no LoRA resolvers" in caplog.text


def test_the_cache_is_absolute_and_below_the_users_own_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from emmetd_vllm.settings import settings_from

    url = {"EMMETD_URL": "http://127.0.0.1:8000"}
    caches = {
        "": Path.home() / ".cache" / "emmetd" / "vllm",
        "adapters": Path.cwd() / "adapters",
        "~/adapters": Path.home() / "adapters",
    }
    for named, cache in caches.items():
        settings = settings_from({**url, "EMMETD_VLLM_CACHE": named})
        assert settings is not None
        assert settings.cache == cache
    settings = settings_from({**url, "XDG_CACHE_HOME": "/var/cache"})
    assert settings is not None
    assert settings.cache == Path("/var/cache/emmetd/vllm")
