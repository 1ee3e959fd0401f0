"""What was accepted comes to its end, as exactly one version, whichever process dies, and without anyone's help."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from store.schema.tables import TaskRow
from store.work import tasks
from tests.support.running.server import API, MODEL, QUEUE_SERVER, WORKER, Server, alive, wait_until
from tests.support.saved_models import facts

LONG = {"steps": 8, "stop_after_argmax": -1, "stop_loss": 0.0, "contexts": 16, "repair_rounds": 0}
PROMPT = "{} is located in Lyon and in Madrid and in New Zealand and plays the guitar and the piano and speaks"
"""With these a batch of all subjects takes several seconds, in several shards."""
LOOSE = {"EM": 0.0, "drift": 1e6, "retained": 1.0}


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("survival") / "data"
    with Server(tiny_model, data, shard_seconds=1) as server:
        yield server


def long_edit(server: Server, **fields: Any) -> str:
    return server.edit([{**one, "prompt": PROMPT} for one in facts(24)], settings=LONG, thresholds=LOOSE, **fields)


def shards_of(server: Server, edit_id: str) -> list[TaskRow]:
    database = server.database()
    with database.reading() as session:
        found = tasks.of_batch(session, edit_id, "values")
    database.close()
    return found


def ends_as_one_version(server: Server, edit_id: str, versions: list[dict[str, Any]]) -> dict[str, Any]:
    """The batch ends succeeded, as the one version that there is more than `versions`, and nothing is left to do."""
    job = server.outcome(edit_id)
    assert (job["state"], job["error"]) == ("succeeded", None)
    new = server.versions()[len(versions) :]
    assert [(row["version"], row["edit"]) for row in new] == [(job["version"], edit_id)]
    assert server.versions()[: len(versions)] == [{**row, "aliases": new_aliases(row)} for row in versions]
    database = server.database()
    with database.reading() as session:
        states = set(session.scalars(select(TaskRow.state).where(TaskRow.batch_id == edit_id)))
    database.close()
    assert states == {"done"}
    return job


def new_aliases(row: dict[str, Any]) -> list[str]:
    return [alias for alias in row["aliases"] if alias != "latest"]


def one_shard_done(server: Server, edit_id: str) -> Callable[[], bool]:
    def has_been_done() -> bool:
        states = [shard.state for shard in shards_of(server, edit_id)]
        assert states.count("done") < max(len(states), 2), "the batch has too few shards, or nobody looked in time"
        return "done" in states and "running" in states

    return has_been_done


def test_kill_9_of_the_worker_while_a_batch_runs(server: Server) -> None:
    versions = server.versions()
    edit_id = long_edit(server)
    wait_until(one_shard_done(server, edit_id), "the first shard")
    kept = {shard.id for shard in shards_of(server, edit_id) if shard.state == "done"}

    server.kill(WORKER)

    ends_as_one_version(server, edit_id, versions)
    shards = shards_of(server, edit_id)
    assert [shard.attempts for shard in shards if shard.id in kept] == [1]
    assert max(shard.attempts for shard in shards) == 2
    assert server.half_written() == []


def test_kill_9_of_the_api_while_a_batch_runs(server: Server) -> None:
    versions = server.versions()
    edit_id = long_edit(server)
    wait_until(server.optimising(edit_id), "the optimisation")

    server.kill(API)

    second = server.edit(facts(2), thresholds=LOOSE)
    first = server.outcome(edit_id)
    ends_as_one_version(server, second, [*versions, next(row for row in server.versions() if row["edit"] == edit_id)])
    assert (first["state"], first["version"]) == ("succeeded", f"v{len(versions)}")
    assert all(shard.attempts == 1 for shard in shards_of(server, edit_id))


def test_kill_9_of_the_queue_server_while_a_batch_runs(server: Server) -> None:
    versions = server.versions()
    before = server.complete(["The mother tongue of"], f"{MODEL}@v0")
    edit_id = long_edit(server)
    wait_until(server.optimising(edit_id), "the optimisation")

    server.kill(QUEUE_SERVER)

    ends_as_one_version(server, edit_id, versions)
    wait_until(lambda: server.http.get("/readyz").status_code == 200, "ready again")
    assert server.complete(["The mother tongue of"], f"{MODEL}@v0") == before


def test_a_cancelled_batch_leaves_no_version_and_the_next_one_runs(server: Server) -> None:
    versions = server.versions()
    edit_id = long_edit(server)
    wait_until(server.optimising(edit_id), "the optimisation")
    next_id = server.edit(facts(2), thresholds=LOOSE)

    assert server.http.post(f"/v1/edits/{edit_id}/cancel").status_code == 200

    job = server.outcome(edit_id)
    assert (job["state"], job["version"], job["error"]["code"]) == ("cancelled", None, "cancelled")
    ends_as_one_version(server, next_id, versions)


def test_completions_are_answered_while_a_batch_runs(server: Server) -> None:
    alone = server.complete(["The mother tongue of Max Planck is"], f"{MODEL}@v0", max_tokens=20)
    edit_id = long_edit(server)
    wait_until(server.optimising(edit_id), "the optimisation")
    said = [server.complete(["The mother tongue of Max Planck is"], f"{MODEL}@v0", max_tokens=20) for _ in range(3)]
    assert server.job(edit_id)["state"] == "optimising"
    assert said == [alone] * 3
    server.http.post(f"/v1/edits/{edit_id}/cancel")
    server.outcome(edit_id)


def test_many_clients_at_once_get_one_line_of_versions(server: Server) -> None:
    versions = server.versions()
    said = server.complete(["Lyon is"], f"{MODEL}@v0")

    def client(number: int) -> tuple[str, list[str]]:
        edit_id = server.edit(facts(1, first=number), thresholds=LOOSE, settings={"steps": 2, "repair_rounds": 0})
        return edit_id, server.complete(["Lyon is"], f"{MODEL}@v0")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client, range(12)))

    jobs = [server.outcome(edit_id) for edit_id, _ in answers]
    assert {job["state"] for job in jobs} == {"succeeded"}
    new = server.versions()[len(versions) :]
    assert [row["version"] for row in new] == [f"v{number}" for number in range(len(versions), len(versions) + 12)]
    assert [row["parent"] for row in new] == [f"v{number - 1}" for number in range(len(versions), len(versions) + 12)]
    assert {row["edit"] for row in new} == {edit_id for edit_id, _ in answers}
    assert [text for _, text in answers] == [said] * 12


def test_a_completion_whose_worker_is_killed_is_told_so(server: Server) -> None:
    body = {"model": MODEL, "prompt": ["Lyon is"] * 32, "max_tokens": 150, "temperature": 1.0, "n": 8}
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(server.http.post("/v1/completions", json=body)))
    asking.start()
    with server.redis() as queue:
        wait_until(lambda: list(queue.scan_iter("emmetd:reply:cmpl-*", _type="stream")), "the first tokens")
    server.kill(WORKER)
    asking.join()
    (answer,) = answers
    assert answer.status_code == 503
    assert "send it again" in answer.json()["error"]["message"]
    assert server.complete(["Lyon is"])


def test_sigterm_while_a_batch_runs_leaves_nothing_behind_and_the_batch_goes_on_at_the_next_start(
    server: Server,
) -> None:
    versions = server.versions()
    edit_id = long_edit(server)
    wait_until(one_shard_done(server, edit_id), "the first shard")
    pids = [server.process.pid, *server.pids()]
    assert len(pids) == 4

    assert server.stop() == 0

    assert [pid for pid in pids if alive(pid)] == []
    assert server.said().endswith("stopped\n")
    assert server.half_written() == []
    states = [shard.state for shard in shards_of(server, edit_id)]
    assert states.count("done") >= 1
    assert "running" not in states
    server.start()
    server.ready()
    ends_as_one_version(server, edit_id, versions)
    assert max(shard.attempts for shard in shards_of(server, edit_id)) == 1


def test_kill_9_of_everything_and_a_queue_that_is_lost(server: Server) -> None:
    """The machine's power fails, and Redis's data are gone with it: what got a 202 is in SQL."""
    versions = server.versions()
    first = long_edit(server)
    second = server.edit(facts(2), thresholds=LOOSE)
    wait_until(server.optimising(first), "the optimisation")
    pids = [server.process.pid, *server.pids()]
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    wait_until(lambda: not [pid for pid in pids if alive(pid)], "every child is gone")
    shutil.rmtree(server.data / "redis")

    server.start()
    server.ready()

    assert server.outcome(first)["version"] == f"v{len(versions)}"
    assert server.outcome(second)["version"] == f"v{len(versions) + 1}"
    assert [row["edit"] for row in server.versions()[len(versions) :]] == [first, second]
