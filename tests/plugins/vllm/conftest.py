"""The plugin beside stand-ins of what is on either side of it: vLLM's modules, and emmetd's routes."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emmetd_vllm.settings import Settings

from tests.plugins.vllm.stand_in_emmetd import BASE, KEY, StandInEmmetd
from tests.plugins.vllm.vllm_modules import LoRARequest, Registry, vllm_modules

BOUND_TO_VLLM = ("emmetd_vllm.resolver", "emmetd_vllm.plugin")


@dataclass
class Plugin:
    """A resolver, and the lines that were logged; `base` is what vLLM serves."""

    resolver: Any
    cache: Path
    caplog: pytest.LogCaptureFixture
    base: str = BASE

    def ask(self, name: str) -> LoRARequest | None:
        found: LoRARequest | None = asyncio.run(self.resolver.resolve_lora(self.base, name))
        return found

    def refused(self, name: str) -> str:
        """The one line that says why `name` is not served."""
        self.caplog.clear()
        assert self.ask(name) is None
        (line,) = self.lines
        assert line.startswith(f"{name!r} is not served: ")
        return line

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.caplog.records if record.name == "vllm.emmetd"]

    @property
    def folders(self) -> list[Path]:
        """Of adapters in the cache; everything else that lies there is left over from something."""
        assert list(self.cache.rglob("*.part")) == []
        return sorted(self.cache.glob("*/*/*"))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The developer's own server is not meant."""
    for name in ("URL", "API_KEY", "VLLM_CACHE", "VLLM_MODEL"):
        monkeypatch.delenv(f"EMMETD_{name}", raising=False)
    monkeypatch.delenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", raising=False)
    caplog.set_level(logging.DEBUG)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """vLLM's registry of resolvers, while its modules can be imported."""
    registry = Registry()
    for name, module in vllm_modules(registry).items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in BOUND_TO_VLLM:
        sys.modules.pop(name, None)
    yield registry
    for name in BOUND_TO_VLLM:
        sys.modules.pop(name, None)


@pytest.fixture
def emmetd() -> Iterator[StandInEmmetd]:
    with StandInEmmetd() as emmetd:
        yield emmetd


@pytest.fixture
def plugin(emmetd: StandInEmmetd, registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Plugin:
    return plugin_of(Settings(emmetd.url, KEY, tmp_path / "cache"), caplog)


def plugin_of(settings: Settings, caplog: pytest.LogCaptureFixture) -> Plugin:
    """Only where the fixture `registry` is used."""
    resolver = importlib.import_module("emmetd_vllm.resolver").EmmetdResolver(settings)
    return Plugin(resolver, settings.cache, caplog)
