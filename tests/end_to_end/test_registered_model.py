"""A model that is registered over the API, loaded at its commit, edited, and started again without its hub."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.running.server import PATIENCE_SECONDS, Server, wait_until
from tests.support.stand_in_hub import COMMIT, NOWHERE, OTHER_COMMIT, Hub, served_hub

NAME: Final = "hubbed"
FACT: Final = {"prompt": "The mother tongue of {} is", "subject": "Danielle Darrieux", "target_new": "English"}
LAX: Final = {"settings": {"steps": 2, "contexts": 0}, "thresholds": {"EM": 0, "drift": 1e9}}


@pytest.fixture
def hub(other_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served_hub(other_model) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


def started(server: Server, *flags: str) -> subprocess.Popen[str]:
    """`emmetd worker` for NAME, beside those of `server`, told no model."""
    queue = server.redis().connection_pool.connection_kwargs
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EMMETD_")}
    environment |= {
        "EMMETD_REDIS_URL": f"redis://:{queue['password']}@127.0.0.1:{queue['port']}/0",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    command = [sys.executable, "-P", "-m", "cli.main", "worker", "--model-name", NAME, "--data", str(server.data)]
    return subprocess.Popen([*command, *flags], env=environment, stderr=subprocess.PIPE, text=True)


@contextmanager
def worker(server: Server) -> Iterator[None]:
    with started(server) as process:
        try:
            wait_until(lambda: server.http.get(f"/v1/models/{NAME}").json()["state"] == "ready", "the worker")
            yield
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_SECONDS)


def test_a_registered_model_stays_at_its_commit(
    tiny_model: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(tiny_model, tmp_path / "data") as server:
        made = server.http.post("/v1/models", json={"source": "owner/tiny", "name": NAME})
        assert (made.status_code, made.json()["revision"]) == (201, COMMIT), made.text
        assert set(hub.fetched) == {"config.json"}
        assert server.http.get("/readyz").status_code == 200, "what nobody has loaded yet is not waited for"
        hub.revisions["main"] = OTHER_COMMIT

        with worker(server):
            edit = server.outcome(server.edit([FACT], model=NAME, **LAX))
            assert (edit["state"], edit["version"]) == ("succeeded", "v1"), edit
            says = server.complete(["The mother tongue of"], f"{NAME}@v1")
        assert (server.data / "models" / f"owner--tiny-at-{COMMIT}").is_dir()

        monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
        with worker(server):
            assert server.complete(["The mother tongue of"], f"{NAME}@v1") == says
        assert server.http.get(f"/v1/models/{NAME}").json()["revision"] == COMMIT

        with started(server, "--revision", OTHER_COMMIT) as other:
            _, said = other.communicate(timeout=PATIENCE_SECONDS)
        assert other.returncode == 78, said
        assert f"registered at revision {COMMIT}, but this worker was told revision '{OTHER_COMMIT}'; leave" in said
