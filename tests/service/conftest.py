"""The real application behind a real server, with SQLite and a private Redis; only the worker's side is a stand-in."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

from cli.supervision.private_redis import PrivateRedis
from configuration.settings import Settings
from service.app import create_app
from service.resources import Resources
from store.blobs.opening import open_blob_store
from store.lineage import models as model_rows
from store.lineage.models import ModelIdentity
from store.schema.database import Database
from tests.support.stand_in_worker import StandInWorker

MODEL = "tiny"
CONTEXT_LENGTH = 64
N_LAYERS = 4
PATIENCE_SECONDS = 60


@dataclass
class Api:
    """A running server. `http` speaks to it; `resources` are the application's own."""

    app: FastAPI
    http: httpx.Client
    url: str

    @property
    def resources(self) -> Resources:
        found: Resources = self.app.state.resources
        return found

    def edit(self, facts: Any = None, **fields: Any) -> httpx.Response:
        body = {"model": MODEL, "facts": [fact()] if facts is None else facts, **fields}
        return self.http.post("/v1/edits", json=body)


def fact(number: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "prompt": "The capital of {} is",
        "subject": f"Country {number}",
        "target_new": "Lyon",
        "target_old": "Paris",
        **fields,
    }


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Byte-level BPE that merges no words but knows "Rome's" as one token, so that a subject can end inside a token."""
    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(r" ?\S+|\s+"), "isolated")
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, letters])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<end>"], show_progress=False)
    tokenizer.train_from_iterator(["The capital of Rome's is Rome's Lyon Paris Country"] * 50, trainer)
    return tokenizer


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_server: PrivateRedis) -> Settings:
    return Settings(data=tmp_path, database_url=database_url, redis_url=redis_server.url, auth="off")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_url)
    yield database
    database.close()


@pytest.fixture
def serve(settings: Settings) -> Iterator[Callable[..., Api]]:
    """Start the application, with other settings where they are named."""
    with ExitStack() as stack:
        yield lambda **changed: stack.enter_context(served(settings.model_copy(update=changed)))


@pytest.fixture
def unknown_model(database: Database) -> str:
    """A model that is registered and that no worker has loaded yet."""
    with database.writing() as session:
        return model_rows.register(session, MODEL, "a folder").name


@pytest.fixture
def model(settings: Settings, tokenizer: Tokenizer) -> str:
    """A model that a worker has loaded once: its shape and its tokenizer are known."""
    load_model(settings, tokenizer)
    return MODEL


def load_model(settings: Settings, tokenizer: Tokenizer, name: str = MODEL, **found: Any) -> None:
    """What a worker leaves in SQL and among the blobs when it has loaded the model."""
    identity = ModelIdentity(
        fingerprint="f" * 64,
        tokenizer_fingerprint="e" * 64,
        dtype="float32",
        model_type="llama",
        n_layers=N_LAYERS,
        d_in=16,
        d_out=8,
        context_length=CONTEXT_LENGTH,
        tokenizer_blob=open_blob_store(settings.blob_url).put(tokenizer.to_str().encode()),
        **{"chat_template": None, **found},
    )
    database = Database(settings.database_url)
    with database.writing() as session:
        model_rows.register(session, name, "a folder")
        model_rows.bind(session, name, identity)
    database.close()


@pytest.fixture
def api(serve: Callable[..., Api], model: str) -> Api:
    return serve()


@pytest.fixture
def worker(redis_server: PrivateRedis, model: str) -> Iterator[StandInWorker]:
    with StandInWorker(redis_server.url, model) as worker:
        yield worker


def ask_and_hang_up(api: Api, worker: StandInWorker, **body: Any) -> None:
    """Ask for a completion and close the connection when the worker has the request."""
    content = json.dumps({"model": MODEL, "prompt": "Lyon", **body}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    with socket.create_connection(("127.0.0.1", httpx.URL(api.url).port or 0)) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + content)
        wait_until(lambda: worker.seen, "the worker has the request")


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)


@contextmanager
def served(settings: Settings) -> Iterator[Api]:
    app = create_app(settings)
    config = uvicorn.Config(
        app, port=0, log_config=None, access_log=False, proxy_headers=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        # Nothing is encrypted here; reading the machine's certificates would take longer than most of the tests.
        with httpx.Client(base_url=url, timeout=30, verify=False) as http:
            yield Api(app, http, url)
    finally:
        server.should_exit = True
        thread.join()
