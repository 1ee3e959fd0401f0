"""A worker says by itself whether it lives, whether it is ready, and what it measured."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import redis

from cli.supervision.private_redis import PrivateRedis
from workers.metrics import EDIT_STAGE_SECONDS
from workers.process.probes import ProbeServer
from workers.status import StatusBoard


@pytest.fixture
def board(redis_server: PrivateRedis) -> Iterator[StatusBoard]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield StatusBoard(client, "w", "tiny", "cpu")


@pytest.fixture
def client(board: StatusBoard) -> Iterator[httpx.Client]:
    server = ProbeServer("127.0.0.1", 0, board)
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as made:
        yield made
    server.close()


def test_it_is_ready_when_its_board_says_so(client: httpx.Client, board: StatusBoard) -> None:
    assert client.get("/livez").status_code == 200
    board.set("statistics", "C0 of layer 8: 40%")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["detail"]) == (503, "C0 of layer 8: 40%")
    board.set("ready")
    assert client.get("/readyz").status_code == 200


def test_the_edit_stage_histogram_is_there(client: httpx.Client) -> None:
    EDIT_STAGE_SECONDS.labels("probed", "emmet", "solve").observe(0.5)
    text = client.get("/metrics").text
    assert 'emmetd_edit_stage_duration_seconds_count{algorithm="emmet",model="probed",stage="solve"} 1.0' in text


def test_other_paths_say_what_there_is(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 404
    assert "/metrics" in answer.json()["detail"]
