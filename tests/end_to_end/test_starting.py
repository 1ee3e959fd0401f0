"""Starts that cannot go well end with a plain reason, and a start that is broken off leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.support.running.server import MODEL, Server, alive, wait_until


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server of a model on the test's data folder; nobody waits until it is ready."""
    with ExitStack() as stack:

        def start(model: Path) -> Server:
            server = stack.enter_context(closing(Server(model, tmp_path / "data")))
            server.start()
            return server

        yield start


def test_another_model_under_the_same_name_is_refused(
    tiny_model: Path, other_model: Path, starting: Callable[..., Server]
) -> None:
    server = starting(tiny_model)
    server.ready()
    assert server.stop() == 0

    impostor = starting(other_model)
    assert impostor.ended() == 1
    said = impostor.said()
    assert f"model {MODEL!r} is bound to fingerprint" in said
    assert "give the other model another name (--model-name), or use another data folder" in said
    assert "Traceback" not in said
    assert "Ctrl-C" not in said


def test_a_start_that_is_broken_off_leaves_nothing_behind(tiny_model: Path, starting: Callable[..., Server]) -> None:
    server = starting(tiny_model)
    wait_until(lambda: "load model" in server.said(), "the worker starts")
    pids = [server.process.pid, *server.pids()]

    assert server.stop() == 0

    assert [pid for pid in pids if alive(pid)] == []
    assert server.half_written() == []
    assert server.said().endswith("stopped\n")
