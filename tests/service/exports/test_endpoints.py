"""Having a version made into a file: 202 while a worker prepares it, then the file, checked."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select

from store.lineage import aliases
from store.schema.database import Database
from store.schema.tables import ExportRow, TaskRow
from store.work import exports, lifecycle, tasks
from store.work.kinds import EXPORT
from tests.service.conftest import MODEL, Api
from tests.service.models.test_endpoints import publish

PATH = f"/v1/models/{MODEL}/versions"
REPORT = {"rank": 2, "full_rank": 3, "relative_error": 0.00123456}
CONTENT = b"PK..." * 1000


@pytest.fixture
def version(api: Api, database: Database) -> str:
    publish(api, database)
    return "v1"


def finish(api: Api, database: Database, content: bytes = CONTENT, report: dict[str, Any] = REPORT) -> None:
    """What a worker would do with the export that waits."""
    with database.writing() as session:
        (row,) = session.scalars(select(ExportRow).where(ExportRow.finished_at.is_(None)))
        exports.finish(row, blob=api.resources.blobs.put(content), size=len(content), report=report)


def test_it_is_prepared_then_given_out(api: Api, version: str, database: Database) -> None:
    first = api.http.get(f"{PATH}/latest/export?format=peft")

    assert first.status_code == 202
    assert first.headers["location"] == f"{PATH}/v1/export?format=peft&max_rank=512"
    assert first.headers["retry-after"]
    job = first.json()
    assert (job["object"], job["state"], job["model"], job["format"]) == ("export", "queued", f"{MODEL}@v1", "peft")
    assert api.http.get(first.headers["location"]).json()["id"] == job["id"]
    with database.reading() as session:
        (task,) = session.scalars(select(TaskRow).where(TaskRow.kind == "export"))
    assert (task.queue, task.export_id) == (f"evaluate:{MODEL}", job["id"])

    finish(api, database)
    with database.writing() as session:
        aliases.put(session, MODEL, "latest", 0, None)
    done = api.http.get(first.headers["location"])
    assert (done.status_code, done.content) == (200, CONTENT)
    assert done.headers["content-type"] == "application/zip"
    assert done.headers["content-length"] == str(len(CONTENT))
    assert done.headers["content-disposition"] == f'attachment; filename="{MODEL}-v1-peft.zip"'
    assert done.headers["x-emmetd-version"] == f"{MODEL}@v1"
    assert done.headers["x-emmetd-export-rank"] == "2"
    assert done.headers["x-emmetd-export-full-rank"] == "3"
    assert done.headers["x-emmetd-export-error"] == "0.00123456"


def test_merged_matrices_have_no_rank(api: Api, version: str, database: Database) -> None:
    first = api.http.get(f"{PATH}/v1/export?format=merged&max_rank=7")
    assert first.headers["location"] == f"{PATH}/v1/export?format=merged"
    assert first.json()["max_rank"] is None
    finish(api, database, report={})
    done = api.http.get(first.headers["location"])
    assert done.status_code == 200
    assert done.headers["content-disposition"] == f'attachment; filename="{MODEL}-v1-merged.safetensors"'
    assert "x-emmetd-export-rank" not in done.headers


@pytest.mark.parametrize(("format", "has_rank"), [("hf", False), ("gguf-lora", True)])
def test_formats_whose_rank_nobody_bounds(
    api: Api, version: str, database: Database, format: str, has_rank: bool
) -> None:
    first = api.http.get(f"{PATH}/v1/export?format={format}&max_rank=7")
    assert first.headers["location"] == f"{PATH}/v1/export?format={format}"
    finish(api, database, report=REPORT if has_rank else {})
    done = api.http.get(first.headers["location"])
    assert (done.status_code, done.headers["content-type"]) == (200, "application/zip")
    assert done.headers["content-disposition"] == f'attachment; filename="{MODEL}-v1-{format}.zip"'
    assert ("x-emmetd-export-rank" in done.headers) is has_rank


def test_each_rank_is_an_export_of_its_own(api: Api, version: str) -> None:
    ids = [api.http.get(f"{PATH}/v1/export?max_rank={rank}").json()["id"] for rank in (4, 8, 4)]
    assert ids[0] == ids[2] != ids[1]


def test_waiting_for_the_file(api: Api, version: str, database: Database) -> None:
    api.http.get(f"{PATH}/v1/export")
    worker = threading.Timer(0.3, finish, (api, database))
    worker.start()
    answer = api.http.get(f"{PATH}/v1/export", headers={"Prefer": "wait=20"})
    worker.join()
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["preference-applied"] == "wait=20"


def test_a_damaged_file_is_not_given_out_and_a_lost_one_is_made_again(
    api: Api, version: str, database: Database
) -> None:
    first = api.http.get(f"{PATH}/v1/export").json()["id"]
    finish(api, database)
    with database.reading() as session:
        blob = lifecycle.get(session, EXPORT, first).blob
    assert blob is not None
    path = api.resources.blobs.path(blob)  # type: ignore[attr-defined]
    path.write_bytes(CONTENT[:-1] + b"x")
    damaged = api.http.get(f"{PATH}/v1/export")
    assert (damaged.status_code, damaged.json()["code"]) == (503, "blob_corrupt")
    path.unlink()
    again = api.http.get(f"{PATH}/v1/export")
    assert (again.status_code, again.json()["id"] != first) == (202, True)


@pytest.mark.parametrize(
    ("code", "status", "retry"),
    [
        ("rank_limit_exceeded", 422, None),
        ("export_format_unsupported", 422, None),
        ("machine", 500, "60"),
        ("blob_missing", 500, None),
    ],
)
def test_why_it_could_not_be_made(
    api: Api, version: str, database: Database, code: str, status: int, retry: str | None
) -> None:
    job = api.http.get(f"{PATH}/v1/export").json()["id"]
    with database.writing() as session:
        lifecycle.end_with_error(
            session, lifecycle.get(session, EXPORT, job), {"code": code, "title": "t", "detail": "why", "facts": []}
        )
    answer = api.http.get(f"{PATH}/v1/export")
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (status, code, "why")
    assert answer.headers.get("retry-after") == retry


def test_a_task_that_no_worker_survives_ends_the_export(api: Api, version: str, database: Database) -> None:
    job = api.http.get(f"{PATH}/v1/export").json()["id"]
    with database.writing() as session:
        (task,) = session.scalars(select(TaskRow).where(TaskRow.kind == "export"))
        held = tasks.acquire(session, task.id, "worker", lease_seconds=-1)
        assert held is not None
        held.attempts = tasks.MOST_ATTEMPTS
    api.resources.relay._take_from_the_dead()
    with database.reading() as session:
        row = lifecycle.get(session, EXPORT, job)
        assert row.error is not None
        assert (row.state, row.error["code"]) == ("failed", "worker_lost")


@pytest.mark.parametrize(
    ("path", "status", "code", "says"),
    [
        ("v0/export", 409, "nothing_to_export", "is the base"),
        ("v9/export", 404, "version_not_found", "v0 to v1"),
        ("v1/export?format=onnx", 422, "invalid_fields", "query.format"),
        ("v1/export?max_rank=0", 422, "invalid_fields", "query.max_rank"),
    ],
)
def test_what_cannot_be_exported(api: Api, version: str, path: str, status: int, code: str, says: str) -> None:
    answer = api.http.get(f"{PATH}/{path}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert says in answer.text


def test_too_many_that_wait_are_refused(api: Api, version: str) -> None:
    settings = api.resources.settings.model_copy(update={"max_queued_batches": 1})
    object.__setattr__(api.resources, "settings", settings)
    assert api.http.get(f"{PATH}/v1/export?max_rank=4").status_code == 202
    refused = api.http.get(f"{PATH}/v1/export?max_rank=5")
    assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
    assert api.http.get(f"{PATH}/v1/export?max_rank=4").status_code == 202
