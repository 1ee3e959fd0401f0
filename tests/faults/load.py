"""Clients that edit and ask while things break, and what they were told."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.support.running.installation import Installation
from tests.support.running.work import Piece
from tests.support.saved_models import SUBJECTS

PROMPTS: Final = [f"The mother tongue of {subject} is" for subject in SUBJECTS[:6]]
STABLE: Final = "stable"
"""An alias that one client alone moves."""
MAX_TOKENS: Final = 4
_TRY_AGAIN: Final = (429, 503)


@dataclass
class Told:
    """What clients were told: batches by their key, evaluations by id, aliases by model, texts by version and prompt.

    `measured` says what each evaluation is of, and `measurements` what was found there.
    """

    accepted: dict[str, str] = field(default_factory=dict)
    measured: dict[str, tuple[str, str]] = field(default_factory=dict)
    measurements: dict[tuple[str, str], Any] = field(default_factory=dict)
    stable: dict[str, str] = field(default_factory=dict)
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    refusals: dict[str, int] = field(default_factory=dict)
    answers: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def refused(self, what: str) -> None:
        with self.lock:
            self.refusals[what] = self.refusals.get(what, 0) + 1

    def answered(self, version: str, prompt: str, text: str) -> None:
        """The same version says the same to the same prompt, always."""
        with self.lock:
            self.answers += 1
            known = self.texts.setdefault((version, prompt), text)
            if known != text:
                self.wrong.append(f"{version} said {known!r} and then {text!r} after {prompt!r}")

    def done(self, key: str, piece: Piece, answer: dict[str, Any]) -> None:
        """A server said that the piece is kept."""
        with self.lock:
            if piece.kind == "evaluation":
                self.measured[answer["id"]] = (piece.body["model"], piece.body["facts"][0]["subject"])
            elif piece.kind == "alias" and answer["alias"] == STABLE:
                self.stable[piece.model] = answer["version"]
        if piece.is_batch:
            self.accepted_as(key, answer["id"])

    def found(self, evaluation_id: str, metrics: Any) -> None:
        """The same facts on the same version have the same measurements, always."""
        with self.lock:
            what = self.measured[evaluation_id]
            known = self.measurements.setdefault(what, metrics)
            if known != metrics:
                self.wrong.append(f"{what} was measured as {known} and then as {metrics}")

    def accepted_as(self, key: str, batch_id: str) -> None:
        with self.lock:
            known = self.accepted.setdefault(key, batch_id)
            if known != batch_id:
                self.wrong.append(f"Idempotency-Key {key} was answered with {known} and {batch_id}")


def send(installation: Installation, told: Told, key: str, piece: Piece, until: float) -> None:
    """Send until somebody accepts it: a client that has no answer sends the same again, to the next server."""
    headers = {"Idempotency-Key": key} if piece.is_batch else {}
    for attempt in range(10_000):
        http = installation.http[(int(key.rpartition("/")[2]) + attempt) % 2]
        try:
            answer = http.request(piece.method, piece.path, json=piece.body, headers=headers)
        except httpx.TransportError as error:
            told.refused(type(error).__name__)
        else:
            if answer.status_code in (200, 202):
                told.done(key, piece, answer.json())
                return
            code = _code(answer)
            told.refused(f"{answer.status_code} {code}")
            if answer.status_code == 409 and code in piece.refusals:
                return
            if answer.status_code not in _TRY_AGAIN:
                told.wrong.append(f"{piece.path} was answered with {answer.status_code}: {answer.text[:300]}")
                return
        if time.monotonic() > until:
            told.wrong.append(f"nobody accepted {key}")
            return
        time.sleep(0.1)


def ask(installation: Installation, told: Told, reference: str, prompts: list[str], which: int = 0) -> bool:
    """Ask one completion of each prompt; whether there was an answer."""
    body = {"model": reference, "prompt": prompts, "max_tokens": MAX_TOKENS, "temperature": 0}
    try:
        answer = installation.http[which].post("/v1/completions", json=body)
    except httpx.TransportError as error:
        told.refused(type(error).__name__)
        return False
    if answer.status_code != 200:
        told.refused(f"{answer.status_code} {_code(answer)}")
        if answer.status_code not in _TRY_AGAIN:
            told.wrong.append(f"a completion was answered with {answer.status_code}: {answer.text[:300]}")
        return False
    version = answer.json()["system_fingerprint"]
    if "@v" in reference and version != reference:
        told.wrong.append(f"{reference} was answered by {version}")
    for choice in answer.json()["choices"]:
        told.answered(version, prompts[choice["index"]], choice["text"])
    return True


def _code(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        return str(body.get("code") or body["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "no problem document"
