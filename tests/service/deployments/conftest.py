"""An API with a stand-in worker and a stand-in engine, and exports made at once by whoever asks here."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from configuration.redis.generation_messages import (
    EndEvent,
    FinishEvent,
    GenerationEvent,
    GenerationRequest,
    TokenInfo,
    TokensEvent,
)
from store.schema.database import Database
from store.schema.tables import ExportRow
from store.work import exports
from tests.service.conftest import MODEL, Api, wait_until
from tests.service.models.test_endpoints import publish
from tests.support.stand_in_vllm import StandInVllm, spelled
from tests.support.stand_in_worker import StandInWorker

ANSWER = " Lyon is"


def zipped(rank: int = 8) -> bytes:
    """As much of an export as the engine looks at."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("adapter_config.json", json.dumps({"r": rank}))
        archive.writestr("adapter_model.safetensors", b"weights")
    return content.getvalue()


def answers(text_of: Callable[[int], str]) -> Callable[[GenerationRequest], Iterable[GenerationEvent]]:
    """A worker that answers every prompt with what `text_of` says of the version, a token for each character."""

    def script(request: GenerationRequest) -> Iterable[GenerationEvent]:
        text, ids = spelled(text_of(request.version))
        tokens = [TokenInfo(id=one, logprob=-0.1, top=[(one, -0.1), (1, -0.2), (2, -3.0)]) for one in ids]
        for choice in range(len(request.prompts)):
            yield TokensEvent(choice=choice, text=text, count=len(ids), tokens=tokens)
            yield FinishEvent(choice=choice, reason="length")
        yield EndEvent(version=request.version)

    return script


class Exporter(threading.Thread):
    """Finishes every export as it is asked for; `made` are their formats. `failure` is how it fails instead."""

    def __init__(self, api: Api, database: Database) -> None:
        super().__init__(daemon=True)
        self.api = api
        self.database = database
        self.made: list[tuple[int, str]] = []
        self.failures: dict[str, dict[str, Any]] = {}
        self.rank = 8
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            with self.database.writing() as session:
                for row in session.scalars(select(ExportRow).where(ExportRow.finished_at.is_(None))):
                    self.made.append((row.version, row.format))
                    content = zipped(self.rank) + row.version.to_bytes()
                    exports.finish(row, blob=self.api.resources.blobs.put(content), size=len(content), report={})
                    if row.format in self.failures:
                        row.error, row.blob, row.state = self.failures[row.format], None, "failed"


@pytest.fixture
def vllm() -> Iterator[StandInVllm]:
    with StandInVllm(lambda path, prompt: spelled(ANSWER)) as engine:
        yield engine


@pytest.fixture
def api(serve: Callable[..., Api], model: str, vllm: StandInVllm, tmp_path: Path) -> Api:
    return serve(deployment_targets=vllm.origin, deployment_folder=tmp_path / "engines")


@pytest.fixture
def worker(worker: StandInWorker) -> StandInWorker:
    worker.script = answers(lambda version: ANSWER)
    return worker


@pytest.fixture
def exporter(api: Api, worker: StandInWorker, database: Database) -> Iterator[Exporter]:
    """With versions v1 and v2 of the model, which `latest` names."""
    publish(api, database)
    publish(api, database)
    thread = Exporter(api, database)
    thread.start()
    yield thread
    thread.ended.set()
    thread.join()


def deployed(api: Api, vllm: StandInVllm, model: str = f"{MODEL}@latest", **fields: Any) -> str:
    body = {"model": model, "target": f"vllm+{vllm.origin}", **fields}
    answer = api.http.post("/v1/deployments", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def wait_for(api: Api, deployment: str, **wanted: Any) -> dict[str, Any]:
    """The deployment once its fields are `wanted`."""
    found: dict[str, Any] = {}

    def is_so() -> bool:
        found.update(api.http.get(f"/v1/deployments/{deployment}").json())
        return all(found[name] == value for name, value in wanted.items())

    wait_until(is_so, f"{wanted} of {deployment}")
    return found
