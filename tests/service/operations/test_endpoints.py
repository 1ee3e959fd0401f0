"""What whoever runs emmetd relies on: health, readiness, metrics, keys, request ids."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from api_schemas.edits import FINAL_STATES
from cli.supervision.private_redis import PrivateRedis
from store.lineage import models
from store.schema.database import Database
from store.schema.tables import TaskRow
from store.work import batches, evaluations, tasks
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact, wait_until
from tests.support.stand_in_worker import StandInWorker

KEY = "a-key-of-some-length"


@pytest.fixture
def locked(serve: Callable[..., Api], model: str) -> Api:
    return serve(api_key=SecretStr(KEY))


def test_livez_looks_at_nothing(serve: Callable[..., Api]) -> None:
    api = serve(redis_url=SecretStr("redis://127.0.0.1:1/0"))

    assert api.http.get("/livez").json() == {"status": "ok"}


def test_readyz_waits_for_a_worker_to_register_a_model(serve: Callable[..., Api]) -> None:
    answer = serve().http.get("/readyz")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "no worker has registered a model yet" in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_readyz_says_how_far_the_worker_is(api: Api, worker: StandInWorker) -> None:
    worker.say("statistics", "C0 of layer 8: 40%")

    answer = api.http.get("/readyz")

    assert answer.status_code == 503
    assert f"the worker of model '{MODEL}' is not ready yet: statistics (C0 of layer 8: 40%)" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "2"


def test_workers_are_listed_with_what_they_do(api: Api, worker: StandInWorker) -> None:
    worker.say("statistics", "C0 of layer 8: 40%")

    (listed,) = api.http.get("/v1/workers").json()["data"]

    assert (listed["model"], listed["stage"], listed["detail"]) == (MODEL, "statistics", "C0 of layer 8: 40%")
    assert listed.keys() == {"id", "model", "stage", "detail", "device", "memory_bytes", "busy_with"}
    card = api.http.get(f"/v1/models/{MODEL}").json()
    assert card["devices"] == [listed["device"]]
    assert "statistics (C0 of layer 8: 40%)" in card["awaits"]


def test_readyz_is_200_when_everything_answers(api: Api, worker: StandInWorker) -> None:
    assert api.http.get("/readyz").json() == {"status": "ok"}


def test_readyz_does_not_wait_for_a_model_that_nobody_has_loaded_yet(
    api: Api, worker: StandInWorker, database: Database
) -> None:
    with database.writing() as session:
        models.register(session, "other", "owner/other", revision="a" * 40)
    assert api.http.get("/readyz").status_code == 200
    assert api.http.get("/v1/models/other").json()["awaits"].startswith("no worker of model 'other' is running")


def test_readyz_says_when_no_worker_runs(api: Api) -> None:
    assert f"no worker of model '{MODEL}' is running" in api.http.get("/readyz").json()["detail"]


def test_readyz_says_when_redis_is_away(serve: Callable[..., Api], model: str) -> None:
    api = serve(redis_url=SecretStr("redis://127.0.0.1:1/0"))

    answer = api.http.get("/readyz")

    assert (answer.status_code, answer.json()["detail"]) == (503, "waiting: Redis does not answer")


def test_readyz_says_when_the_tables_are_missing(serve: Callable[..., Api], tmp_path: Path) -> None:
    answer = serve(database_url=f"sqlite:///{tmp_path}/empty.sqlite3").http.get("/readyz")

    assert answer.status_code == 503
    assert "emmetd migrate" in answer.json()["detail"]


def test_edits_are_kept_while_redis_is_away_and_completions_say_why_not(serve: Callable[..., Api], model: str) -> None:
    api = serve(redis_url=SecretStr("redis://127.0.0.1:1/0"))

    assert api.edit().status_code == 202
    answer = api.http.post("/v1/completions", json={"model": MODEL, "prompt": "The"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "Redis does not answer; try again shortly")
    assert api.http.get("/metrics").status_code == 200


def test_the_database_away_is_a_503(serve: Callable[..., Api], tmp_path: Path) -> None:
    answer = serve(database_url=f"sqlite:///{tmp_path}/empty.sqlite3").http.get("/v1/edits")

    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert "emmetd migrate" in answer.json()["detail"]


def samples(api: Api) -> dict[str, float]:
    text = api.http.get("/metrics").text
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[:1] != "#"}


def test_metrics_show_queues_workers_and_versions(api: Api, worker: StandInWorker) -> None:
    for number in range(3):
        api.edit([fact(number)])
    api.http.post("/v1/evaluations", json={"model": MODEL, "facts": [fact()]})
    while samples(api).get(f'emmetd_queue_depth{{queue="edits:{MODEL}"}}') != 2:
        pass  # the relay has started the first of the three

    found = samples(api)
    assert found[f'emmetd_queue_depth{{queue="control:{MODEL}"}}'] == 1
    assert found[f'emmetd_queue_depth{{queue="evaluate:{MODEL}"}}'] == 1
    assert found[f'emmetd_queue_depth{{queue="generate:{MODEL}"}}'] == 0
    assert found[f'emmetd_queue_oldest_age_seconds{{queue="edits:{MODEL}"}}'] >= 0
    assert found[f'emmetd_worker_up{{model="{MODEL}"}}'] == 1
    assert found[f'emmetd_model_version_info{{alias="latest",model="{MODEL}",version="v0"}}'] == 1


def test_metrics_show_tasks_while_a_worker_holds_them(api: Api, model: str) -> None:
    series = f'emmetd_tasks_running{{kind="evaluate",model="{MODEL}"}}'
    assert samples(api)[series] == 0
    with api.resources.database.writing() as session:
        row = evaluations.create(session, model=MODEL, version=0, compare_with=None, metrics=["ES"], facts=[])
        held = [task.id for task in session.scalars(select(TaskRow).where(TaskRow.evaluation_id == row.id))]
        held += [tasks.create(session, of=row, kind="evaluate").id for _ in range(2)]
    with api.resources.database.writing() as session:
        for task_id, lease_seconds in zip(held, (60, 60, -1), strict=True):
            tasks.acquire(session, task_id, "w", lease_seconds)

    assert samples(api)[series] == 2  # the third one's worker is gone


def ended(api: Api) -> dict[str, float]:
    """Final state → batches that ended so."""
    found = samples(api)
    return {state: found[f'emmetd_edits_total{{model="{MODEL}",state="{state}"}}'] for state in FINAL_STATES}


@BOTH_DATABASES
def test_metrics_count_every_batch_that_ends_whichever_process_ends_it(api: Api) -> None:
    database = api.resources.database
    nothing = dict.fromkeys(FINAL_STATES, 0)
    assert ended(api) == nothing

    api.http.put(f"/v1/models/{MODEL}/aliases/staging", json={"version": "v0"})
    running, _ = (api.edit(model=f"{MODEL}@staging").json()["id"] for _ in range(2))
    api.http.delete(f"/v1/models/{MODEL}/aliases/staging")
    api.http.post(f"/v1/edits/{running}/cancel")
    # The other one's parent is gone when its turn comes.
    wait_until(lambda: ended(api) == {**nothing, "cancelled": 1, "failed": 1}, "both are counted")

    lost = api.edit().json()["id"]
    wait_until(lambda: api.http.get(f"/v1/edits/{lost}").json()["state"] == "planning", "its task")
    with database.writing() as session:
        (task,) = tasks.of_batch(session, lost, "plan")
        for _ in range(tasks.MOST_ATTEMPTS):
            tasks.acquire(session, task.id, "dead", lease_seconds=-1)
    wait_until(lambda: ended(api) == {**nothing, "cancelled": 1, "failed": 2}, "it is given up, and counted")


def test_metrics_count_no_batch_whose_end_was_not_committed(api: Api) -> None:
    edit = api.edit().json()["id"]

    def failing() -> None:
        with api.resources.database.writing() as session:
            batches.set_state(session, batches.get(session, edit), "succeeded")
            session.flush()
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        failing()
    assert ended(api) == dict.fromkeys(FINAL_STATES, 0)


def test_metrics_show_the_room_for_blobs(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert samples(api)["emmetd_store_free_bytes"] == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)

    def away(_: Path) -> None:
        raise OSError(errno.ENOTCONN, "not connected")

    monkeypatch.setattr("store.blobs.folder.shutil.disk_usage", away)
    found = samples(api)
    assert "emmetd_store_free_bytes" not in found
    assert f'emmetd_store_bytes{{model="{MODEL}"}}' in found


def test_requests_are_counted_by_route_and_not_by_path(api: Api) -> None:
    api.http.get("/v1/edits/edit_1")
    api.http.get("/v1/edits/edit_2")
    api.http.get("/no/such/path")
    api.http.request("PROPFIND", "/v1/edits")

    found = samples(api)
    name = "emmetd_http_request_duration_seconds_count"
    assert found[f'{name}{{method="GET",route="/v1/edits/{{edit_id}}",status="404"}}'] == 2
    assert found[f'{name}{{method="GET",route="unmatched",status="404"}}'] == 1
    assert found[f'{name}{{method="other",route="/v1/edits",status="405"}}'] == 1
    assert not [series for series in found if "edit_1" in series]


def test_unknown_paths_and_methods_are_problems(api: Api) -> None:
    missing, wrong = api.http.get("/v1/edit"), api.http.delete("/v1/edits")

    assert (missing.status_code, missing.json()["code"]) == (404, "path_not_found")
    assert "GET /openapi.json lists all paths" in missing.json()["detail"]
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "POST"}


def test_wrong_query_parameters_are_named(api: Api) -> None:
    problem = api.http.get("/v1/edits?limit=0").json()

    assert problem["errors"] == [{"loc": "query.limit", "msg": 'is "0"; it must be at least 1'}]


def test_a_request_keeps_the_id_that_it_came_with(api: Api) -> None:
    assert api.http.get("/livez", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert api.http.get("/livez", headers={"X-Request-ID": "not an id"}).headers["x-request-id"] != "not an id"


def test_what_nobody_foresaw_is_a_500_that_names_the_request(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("service.edits.service.page", broken)
    answer = api.http.get("/v1/edits")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/v1/edits", "/v1/models", "/v1/algorithms", "/v1/evaluations/x"])
def test_without_the_key_nothing_is_told(locked: Api, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}, {"X-API-Key": KEY}):
        answer = locked.http.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert KEY not in answer.text


def test_without_the_key_a_body_is_not_looked_at(locked: Api) -> None:
    assert locked.http.post("/v1/edits", content=b"{").status_code == 401
    answer = locked.http.post("/v1/completions", json={"model": MODEL, "prompt": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


def test_with_the_key_everything_is_served(locked: Api) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}

    assert locked.http.get("/v1/models", headers=headers).status_code == 200
    assert locked.http.post("/v1/edits", json={"model": MODEL, "facts": [fact()]}, headers=headers).status_code == 202


def test_probes_need_no_key(locked: Api) -> None:
    for path in ("/livez", "/metrics", "/openapi.json", "/"):
        assert locked.http.get(path).status_code == 200
    assert locked.http.get("/readyz").status_code == 503


@pytest.mark.parametrize(
    ("path", "look"),
    [("/readyz", "service.operations.endpoints.awaited"), ("/metrics", "service.metrics.ServiceMetrics.exposition")],
)
def test_those_who_need_no_key_cannot_take_the_threads_of_the_others(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str, look: str
) -> None:
    """A hundred ask while a look hangs, as it does while the database is kept busy: one thread looks for them all."""
    goes_on, looks = threading.Event(), []

    def hangs(_: object) -> list[str] | bytes:
        looks.append(path)
        assert goes_on.wait(60)
        return b"" if path == "/metrics" else []

    monkeypatch.setattr(look, hangs)
    with ThreadPoolExecutor(100) as pool:
        asked = [pool.submit(httpx.get, f"{api.url}{path}", timeout=60, verify=False) for _ in range(100)]
        try:
            wait_until(lambda: looks, "the first of them looks")
            time.sleep(1)  # the others have come by then
            assert api.http.get("/v1/models", timeout=10).status_code == 200
        finally:
            goes_on.set()
        assert [one.result().status_code for one in asked] == [200] * 100
    # Those whose request came when the first look had ended share another.
    assert len(looks) < 10


def test_the_api_from_its_environment_never_imports_pytorch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, redis_server: PrivateRedis
) -> None:
    monkeypatch.setenv("EMMETD_DATA", str(tmp_path))
    monkeypatch.setenv("EMMETD_DATABASE_URL", database_url)
    monkeypatch.setenv("EMMETD_REDIS_URL", redis_server.url)
    program = """
import asyncio, sys
from configuration.settings import load_settings
from service.app import create_app

async def start_and_stop():
    app = create_app(load_settings())
    async with app.router.lifespan_context(app):
        return app.openapi()["info"]["title"], str(app.state.resources.settings.data)

print(*asyncio.run(start_and_stop()), sorted({"torch", "transformers"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == f"emmetd {tmp_path} []", "logs come before"
