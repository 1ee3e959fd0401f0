"""A real `emmetd serve` to run checks against."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

READY_SECONDS = 900


class RefusedError(RuntimeError):
    """A batch with fields that are wrong; `facts` are the numbers of those that they belong to."""

    def __init__(self, text: str, fields: list[str]) -> None:
        super().__init__(f"422: {text}")
        named = [re.match(r"facts\[(\d+)\]", field) for field in fields]
        if None in named:
            raise RuntimeError(str(self))
        self.facts = {int(one.group(1)) for one in named if one is not None}


class Server:
    """`emmetd serve` as a child process on a free port, with its data in `data`."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        self.arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=600)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> float:
        """Start and wait for `/readyz`; returns the seconds that took."""
        started = time.monotonic()
        command = [sys.executable, "-m", "cli.main", "serve", "--data", str(self.data), "--port", str(self.port)]
        log = (self.data.parent / f"{self.data.name}.log").open("ab")
        self.process = subprocess.Popen([*command, *self.arguments], stdout=log, stderr=log, start_new_session=True)
        while time.monotonic() - started < READY_SECONDS:
            if self.process.poll() is not None:
                raise RuntimeError(f"emmetd serve ended with {self.process.returncode}; see {log.name}")
            try:
                if self.client.get("/readyz").status_code == 200:
                    return time.monotonic() - started
            except httpx.TransportError:
                pass
            time.sleep(0.25)
        raise TimeoutError("not ready; see the log")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)

    def children(self) -> dict[int, str]:
        """Process ids and command lines below the supervisor."""
        assert self.process is not None
        found: dict[int, str] = {}
        parents = [self.process.pid]
        while parents:
            parent = parents.pop()
            for task in Path(f"/proc/{parent}/task").glob("*/children"):
                for pid in map(int, task.read_text().split()):
                    found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                    parents.append(pid)
        return found

    def kill_worker(self) -> None:
        (pid,) = [pid for pid, command in self.children().items() if " worker" in command]
        os.kill(pid, signal.SIGKILL)

    def edit(self, facts: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
        """Submit a batch; the job as answered with the 202."""
        answer = self.client.post("/v1/edits", json={"model": "smollm2-135m", "facts": facts, **fields})
        if answer.status_code == 422:
            raise RefusedError(answer.text, [error["loc"] for error in answer.json()["errors"]])
        if answer.status_code != 202:
            raise RuntimeError(f"{answer.status_code}: {answer.text}")
        return dict(answer.json())

    def edit_next(
        self, records: Iterator[dict[str, Any]], number: int, **fields: Any
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Submit the next `number` records that the tokenizer takes: the job as answered, and its facts."""
        facts = list(itertools.islice(records, number))
        while True:
            try:
                return self.edit(facts, **fields), facts
            except RefusedError as refused:
                facts = [one for n, one in enumerate(facts) if n not in refused.facts]
                facts += itertools.islice(records, number - len(facts))

    def pages(self, path: str, **parameters: str | int) -> Iterator[dict[str, Any]]:
        """Every page of a list, or of what has one."""
        while True:
            page = self.client.get(path, params=parameters).raise_for_status().json()
            yield page
            if page["next_cursor"] is None:
                return
            parameters["cursor"] = page["next_cursor"]

    def wait(self, path: str, seconds: float = 3600) -> dict[str, Any]:
        """Ask until the job at `path` has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                job = self.client.get(path).json()
            except httpx.TransportError:
                time.sleep(0.5)
                continue
            if job["state"] in ("succeeded", "rejected", "failed", "cancelled"):
                return dict(job)
            time.sleep(0.5)
        raise TimeoutError(f"{path} did not end in {seconds} s")

    def complete(self, model: str, prompts: list[str], max_tokens: int = 12) -> list[str]:
        """Greedy texts, one for each prompt."""
        body = {"model": model, "prompt": prompts, "max_tokens": max_tokens, "temperature": 0}
        answer = self.client.post("/v1/completions", json=body)
        answer.raise_for_status()
        assert answer.json()["system_fingerprint"].startswith("smollm2-135m@v")
        return [choice["text"] for choice in answer.json()["choices"]]

    def evaluate(self, model: str, facts: list[dict[str, Any]], metrics: list[str], **fields: Any) -> dict[str, Any]:
        """Its end, with the rows of all facts."""
        body = {"model": model, "facts": facts, "metrics": metrics, **fields}
        answer = self.client.post("/v1/evaluations", json=body)
        answer.raise_for_status()
        path = f"/v1/evaluations/{answer.json()['id']}"
        job = self.wait(path)
        return {**job, "facts": [row for page in self.pages(path) for row in page["facts"]]}
