"""Requests to an engine: what it says is read, within limits, and nothing else is followed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest

from service.deployments import engine as engine_module
from service.deployments.engine import Engine, EngineAnswer, EngineAwayError, EngineRefusedError, engines_client
from tests.support.stand_in_vllm import StandInVllm, spelled

Answer = TypeVar("Answer")


def ask(origin: str, call: Callable[[Engine], Awaitable[Answer]], key: str | None = None) -> Answer:
    async def asked() -> Answer:
        async with engines_client() as http:
            return await call(Engine(http, origin, key))

    return asyncio.run(asked())


@pytest.fixture
def adapter(tmp_path: Path) -> str:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8}))
    return str(tmp_path)


def test_an_adapter_is_loaded_asked_and_unloaded(adapter: str) -> None:
    with StandInVllm(lambda path, prompt: spelled(f"{prompt}!"), key="sk-1") as vllm:

        async def everything(engine: Engine) -> None:
            await engine.load("m@p", adapter)
            assert await engine.served() == {"base": "/models/base", "m@p": adapter}
            await engine.load("m@p", adapter)
            assert await engine.complete("m@p", ["a", "b"], 4) == [
                EngineAnswer("a!", (97, 33)),
                EngineAnswer("b!", (98, 33)),
            ]
            await engine.unload("m@p")
            await engine.unload("m@p")
            assert await engine.served() == {"base": "/models/base"}

        ask(vllm.origin, everything, "sk-1")
        with pytest.raises(EngineRefusedError, match=r"401: .*give the deployment the key"):
            ask(vllm.origin, lambda engine: engine.served(), "sk-2")
        with pytest.raises(EngineRefusedError, match="No adapter found"):
            ask(vllm.origin, lambda engine: engine.load("x", "/nowhere"), "sk-1")


def test_one_that_is_not_there_is_away() -> None:
    with StandInVllm(lambda path, prompt: spelled("")) as vllm:
        pass
    with pytest.raises(EngineAwayError, match="ConnectError"):
        ask(vllm.origin, lambda engine: engine.served())


def test_one_that_stops_listening_while_it_is_asked_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a vLLM whose engine died: the connection stays open, and nothing more comes on it."""
    monkeypatch.setattr(engine_module, "PROBE_SECONDS", 0.05)
    held = threading.Event()
    vllm = StandInVllm(lambda path, prompt: spelled(str(held.wait(60))))

    async def asked(engine: Engine) -> None:
        asking = asyncio.ensure_future(engine.complete("base", ["a"], 4))
        while not vllm.asked("/v1/completions"):
            await asyncio.sleep(0.01)
        vllm.stop()
        await asking

    with vllm:
        try:
            with pytest.raises(EngineAwayError, match="GET /v1/models"):
                ask(vllm.origin, asked)
        finally:
            held.set()


class Other(threading.Thread):
    """A server that is no vLLM: it sends `reply` whatever it is asked."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(daemon=True)
        self.paths: list[str] = []
        other = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                other.paths.append(self.path)
                self.wfile.write(reply)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.start()

    def run(self) -> None:
        self.server.serve_forever(0.02)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: /v1/other\r\nContent-Length: 0\r\n\r\n", "302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "no vLLM"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"data": 1}', "no list 'data'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b" " * 50, "larger than 40 bytes"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy", "503: busy"),
        (b"no HTTP at all\r\n\r\n", "RemoteProtocolError"),
    ],
)
def test_what_is_no_vllm_is_told_and_redirects_are_not_followed(
    reply: bytes, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_MOST_BYTES", 40)
    other = Other(reply)
    try:
        with pytest.raises(engine_module.EngineError, match=told):
            ask(other.origin, lambda engine: engine.served())
        assert other.paths == ["/v1/models"]
    finally:
        other.server.shutdown()
        other.server.server_close()
