"""A transport that answers from a script and keeps what was sent, for either client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

Step = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Stub:
    """Each request takes the next step of the script; the last one answers all that follow."""

    def __init__(self, *steps: Step) -> None:
        self.requests: list[httpx.Request] = []
        self._steps = list(steps)
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if isinstance(step, Exception):
            raise step
        if not isinstance(step, httpx.Response):
            return step(request)
        # A response can be read once.
        return httpx.Response(step.status_code, headers=step.headers, content=step.content)

    def body(self, number: int = -1) -> Any:
        return json.loads(self.requests[number].content)

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]


def answer(status: int = 200, body: Any = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=body, headers=named)


def problem(
    status: int, code: str, detail: str = "no", headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    body = {"title": "No", "status": status, "detail": detail, "code": code, **more}
    return httpx.Response(status, json=body, headers=headers or {})


JOB: dict[str, Any] = {
    "id": "edit_1",
    "object": "edit",
    "kind": "edit",
    "state": "queued",
    "model": "tiny",
    "requested": "tiny",
    "base_version": None,
    "version": None,
    "algorithm": "emmet",
    "settings": {},
    "facts": 1,
    "label": None,
    "thresholds": {},
    "dry_run": False,
    "urgent": False,
    "progress": {"stage": "queued", "done": 0, "total": 1},
    "metrics": None,
    "error": None,
    "created_at": "2026-11-30T08:00:00Z",
    "started_at": None,
    "finished_at": None,
}
FACT = {"prompt": "The capital of {} is", "subject": "France", "target_new": "Lyon"}
