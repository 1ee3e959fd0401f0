"""`emmetd serve` on a tiny model, as real processes, and what a test does to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import redis

from store.schema.database import Database

MODEL = "tiny"
PATIENCE_SECONDS = 150
"""What never happens within this time on the slowest machine does not happen."""
FINAL = ("succeeded", "rejected", "failed", "cancelled")
WORKER, API, QUEUE_SERVER = "cli.main worker", "cli.main api", "-server "
COMMAND = (sys.executable, "-P", "-m", "cli.main", "serve")


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped by somebody else does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Server:
    """A server that is ready, with its data in `data`; it can be stopped and started again."""

    def __init__(self, model: Path, data: Path, name: str = MODEL, **settings: object) -> None:
        self.data = data
        self.key = settings.get("api_key")
        self._command = [*COMMAND, "--model", str(model), "--model-name", name, "--data", str(data), "--port", "0"]
        bare = {name: value for name, value in os.environ.items() if not name.startswith("EMMETD_")}
        quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
        chosen = {f"EMMETD_{setting.upper()}": str(value) for setting, value in settings.items()}
        self._environment = {**bare, **quiet, "EMMETD_LEASE_SECONDS": "3", **chosen}
        self._log = data.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        self._read_from = 0
        self.http = httpx.Client()

    def __enter__(self) -> Self:
        self.start()
        self.ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it at once, if it still runs."""
        self.http.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def metrics_port(self) -> int:
        """The worker's own."""
        found = re.search(r"its probes and metrics are on port (\d+)", self.said())
        assert found, self.said()
        return int(found[1])

    def start(self) -> None:
        """Start it; `ready` waits for it."""
        with self._log.open("ab") as log:
            self._read_from = log.tell()
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)

    def ready(self) -> None:
        wait_until(lambda: "Ctrl-C stops everything" in self.said() or self.process.poll() is not None, "ready")
        found = re.search(r"ready at (\S+)", self.said())
        assert found, self.said()
        self.http.close()
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        # No proxy of the environment may stand in between, and the machine's certificates take long to read.
        self.http = httpx.Client(base_url=found[1], headers=headers, timeout=120, trust_env=False, verify=False)

    def said(self) -> str:
        """Everything that this start wrote, standard error included."""
        return self._log.read_bytes()[self._read_from :].decode(errors="replace")

    def ended(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def restart(self) -> None:
        assert self.stop() == 0
        self.start()
        self.ready()

    def pids(self, name: str = "") -> list[int]:
        """Child processes whose command line holds `name`: WORKER, API or QUEUE_SERVER."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and alive(int(entry.name)):
                try:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if parent == self.process.pid and name in command:
                    found.append(int(entry.name))
        return found

    def kill(self, name: str) -> None:
        """kill -9 of the child, and wait until another has taken its place."""
        (pid,) = self.pids(name)
        ready = self.said().count("worker ready")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: [other for other in self.pids(name) if other != pid], f"another {name}")
        if name == WORKER:
            wait_until(lambda: self.said().count("worker ready") > ready, "another worker is ready")
            wait_until(lambda: self.http.get("/readyz").status_code == 200, "the API knows it")

    def database(self) -> Database:
        return Database(f"sqlite:///{self.data}/emmetd.sqlite3")

    def redis(self) -> redis.Redis:
        """A connection to the private queue server."""
        conf = (self.data / "redis" / "redis.conf").read_text()
        found = {key: re.search(rf"^{key} (\S+)$", conf, re.MULTILINE) for key in ("port", "requirepass")}
        port, password = found["port"], found["requirepass"]
        assert port
        assert password
        return redis.Redis(port=int(port[1]), password=password[1])

    def half_written(self) -> list[Path]:
        """Files that a write left behind before it was whole."""
        return [path for path in self.data.rglob("*") if path.name.startswith(".partial-") or path.suffix == ".part"]

    def edit(self, facts: list[dict[str, Any]], **fields: Any) -> str:
        """Submit a batch; its id."""
        body = {"model": MODEL, "facts": facts, "settings": {"steps": 60}, **fields}
        answer = self.http.post("/v1/edits", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, edit_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/v1/edits/{edit_id}").raise_for_status().json())

    def outcome(self, edit_id: str) -> dict[str, Any]:
        """The batch, once it has ended. The API may be away for a while."""
        found: dict[str, Any] = {}

        def has_ended() -> bool:
            try:
                found.update(self.job(edit_id))
            except httpx.TransportError:
                return False
            return found["state"] in FINAL

        wait_until(has_ended, "the batch's end")
        return found

    def optimising(self, edit_id: str) -> Callable[[], bool]:
        def has_begun() -> bool:
            job = self.job(edit_id)
            assert job["state"] not in FINAL, job
            return job["progress"]["stage"] == "optimising" and job["progress"]["done"] > 0

        return has_begun

    def versions(self) -> list[dict[str, Any]]:
        """All versions, oldest first."""
        found = self.http.get(f"/v1/models/{MODEL}/versions").raise_for_status().json()["data"]
        return list(reversed(found))

    def complete(self, prompts: list[str], reference: str = MODEL, max_tokens: int = 6, **fields: Any) -> list[str]:
        """Greedy texts, one for each prompt."""
        body = {"model": reference, "prompt": prompts, "max_tokens": max_tokens, "temperature": 0, **fields}
        answer = self.http.post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        return [choice["text"] for choice in answer.json()["choices"]]

    def evaluate(self, **body: Any) -> dict[str, Any]:
        """An evaluation, once it has ended."""
        answer = self.http.post("/v1/evaluations", json=body)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = {}

        def has_ended() -> bool:
            found.update(self.http.get(answer.headers["location"]).raise_for_status().json())
            return found["state"] in FINAL

        wait_until(has_ended, "the evaluation's end")
        return found
