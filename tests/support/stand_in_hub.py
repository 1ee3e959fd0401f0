"""A server that answers as the Hugging Face hub does for one model, `owner/tiny`, from a folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "fedcba9876543210fedcba9876543210fedcba98"
NOWHERE = "http://127.0.0.1:9"


def write_model(folder: Path, **config: Any) -> Path:
    """The names that a model has; its weights are none that could be read."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).write_bytes(b"not to be read")
    return folder


class Hub:
    """`revisions` are branches, tags and commits, each with its commit; all of them have the files of `folder`.

    With a `token` its files are gated: their list is everybody's, as on the hub. `requests` keeps what was asked.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token: str | None = None
        self.is_broken = False
        self.revisions = {"main": COMMIT, COMMIT: COMMIT, "v2": OTHER_COMMIT, OTHER_COMMIT: OTHER_COMMIT}
        self.requests: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def files(self) -> list[Path]:
        return sorted(file for file in self.folder.iterdir() if file.is_file())

    @property
    def fetched(self) -> list[str]:
        """The files whose content was asked for."""
        return [one.rpartition("/")[2] for one in self.requests if one.startswith("GET") and "/resolve/" in one]


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            hub.requests.append(f"{self.command} {path}")
            if hub.is_broken:
                self.refuse(503, "ServerError")
            elif path.startswith("/api/models/owner/tiny/tree/"):
                tree = [
                    {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": file.name}
                    for file in hub.files
                ]
                self.answer(json.dumps(tree).encode())
            elif path.startswith("/api/models/owner/tiny"):
                self.answer_info(path.removeprefix("/api/models/owner/tiny").removeprefix("/revision/") or "main")
            elif path.startswith("/owner/tiny/resolve/"):
                commit, name = path.removeprefix("/owner/tiny/resolve/").split("/")
                if hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
                    self.refuse(401, "GatedRepo")
                else:
                    self.answer((hub.folder / name).read_bytes(), name, commit)
            else:
                self.refuse(404, "RepoNotFound")

        def answer_info(self, revision: str) -> None:
            if revision not in hub.revisions:
                self.refuse(404, "RevisionNotFound")
                return
            siblings = [{"rfilename": f.name, "size": f.stat().st_size, "blobId": f.name} for f in hub.files]
            info = {"id": "owner/tiny", "sha": hub.revisions[revision], "siblings": siblings}
            self.answer(json.dumps(info).encode())

        def answer(self, body: bytes, etag: str | None = None, commit: str = COMMIT) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json" if etag is None else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            if etag is not None:
                self.send_header("ETag", f'"{etag}"')
                self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


@contextmanager
def served_hub(folder: Path) -> Iterator[Hub]:
    hub = Hub(folder)
    thread = threading.Thread(target=hub.server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_ENDPOINT does, which the client reads once."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
