"""A real server of a tiny model with versions v1 and v2, for the client and the commands that stand on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emmetd_client import Emmetd

from tests.support.running.tiny_server import KEY, NAME, tiny_server


@dataclass(frozen=True)
class Running:
    """A server that is ready. `port` is that of its API, `data` its folder."""

    url: str
    key: str
    model: str
    data: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with tiny_server(tmp_path_factory.mktemp("served")) as found:
        url = str(found.http.base_url).rstrip("/")
        yield Running(url, KEY, NAME, found.data)


@pytest.fixture
def client(server: Running) -> Iterator[Emmetd]:
    with Emmetd(server.url, api_key=server.key) as client:
        yield client


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own server is not meant."""
    for name in ("EMMETD_URL", "EMMETD_API_KEY"):
        monkeypatch.delenv(name, raising=False)


QUICK: dict[str, Any] = {"settings": {"steps": 2, "contexts": 0}, "thresholds": {"EM": 0.0, "drift": 1e9}}
"""A batch that ends soon, whatever it measures."""
