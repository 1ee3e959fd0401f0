"""Damaged blobs are named and never applied: their versions say `unavailable`, and the rest goes on being served."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.blobs.folder import FolderBlobStore
from tests.support.running.server import MODEL, WORKER, Server
from tests.support.saved_models import facts

DAMAGES = ("corrupt", "truncated", "missing", "foreign")


def damage(kind: str, path: Path, foreign: bytes) -> None:
    content = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(content[:100])
    elif kind == "corrupt":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        path.write_bytes(foreign)


@pytest.fixture
def server(tiny_model: Path, tmp_path: Path) -> Server:
    return Server(tiny_model, tmp_path / "data")


def test_what_is_damaged_is_unavailable_and_the_rest_is_served(server: Server) -> None:
    with server:
        quick = {"settings": {"steps": 2, "repair_rounds": 0}, "thresholds": {"EM": 0.0, "drift": 1e9, "retained": 1.0}}
        for number in range(5):
            edit = server.edit(facts(2, first=2 * number), model=f"{MODEL}@v0", **quick)
            assert server.outcome(edit)["state"] == "succeeded"
        prompts = ["Lyon is", "The mother tongue of Ada Lovelace is"]
        said = {name: server.complete(prompts, f"{MODEL}@{name}") for name in ("v0", "v1", "v2", "v3", "v4", "v5")}
        blobs = FolderBlobStore(server.data / "blobs")
        rows = {row["version"]: row for row in server.versions()}
        server.kill(WORKER)  # the next one has nothing in memory

        whole = {kind: blobs.path(rows[f"v{n}"]["sha256"]).read_bytes() for n, kind in enumerate(DAMAGES, start=1)}
        for number, kind in enumerate(DAMAGES, start=1):
            blob = rows[f"v{number}"]["sha256"]
            damage(kind, blobs.path(blob), foreign=blobs.get(rows["v5"]["sha256"]))
            body = {"model": f"{MODEL}@v{number}", "prompt": prompts, "max_tokens": 4}
            answer = server.http.post("/v1/completions", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "version_unavailable"), kind
            assert blob in answer.json()["error"]["message"]
        assert [row["state"] for row in server.versions()] == [*["available"], *["unavailable"] * 4, "available"]
        for name in ("v0", "v5"):
            assert server.complete(prompts, f"{MODEL}@{name}") == said[name]

        for number, kind in enumerate(DAMAGES, start=1):
            blobs.path(rows[f"v{number}"]["sha256"]).write_bytes(whole[kind])
            assert server.complete(prompts, f"{MODEL}@v{number}") == said[f"v{number}"]
        assert {row["state"] for row in server.versions()} == {"available"}
