"""Clients that edit and ask while things break, and what they were told."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.faults.installation import MODEL, Installation
from tests.workers.saved_models import LANGUAGES, SUBJECTS

SETTINGS: Final = {"steps": 12, "repair_rounds": 0, "contexts": 2}
THRESHOLDS: Final = {"EM": 0.0, "drift": 1e9}
PROMPTS: Final = [f"The mother tongue of {subject} is" for subject in SUBJECTS[:6]]
MAX_TOKENS: Final = 4
_TRY_AGAIN: Final = (429, 503)


@dataclass
class Told:
    """What clients were told: batches by their key, and texts by version and prompt."""

    accepted: dict[str, str] = field(default_factory=dict)
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

    def accepted_as(self, key: str, batch_id: str) -> None:
        with self.lock:
            known = self.accepted.setdefault(key, batch_id)
            if known != batch_id:
                self.wrong.append(f"Idempotency-Key {key} was answered with {known} and {batch_id}")


def body_of(chance: random.Random, versions: int) -> dict[str, Any]:
    """A small batch: mostly on the line, sometimes a branch, a dry run or an urgent one."""
    facts = [
        {
            "prompt": "The mother tongue of {} is",
            "subject": subject,
            "target_new": chance.choice(LANGUAGES),
        }
        for subject in chance.sample(SUBJECTS, chance.randint(1, 3))
    ]
    body: dict[str, Any] = {"model": MODEL, "facts": facts, "settings": SETTINGS, "thresholds": THRESHOLDS}
    kind = chance.random()
    if kind < 0.2:
        body["model"] = f"{MODEL}@v{chance.randrange(versions)}"
    elif kind < 0.3:
        body["urgent"] = True
    elif kind < 0.4:
        body["dry_run"] = True
    return body


def submit(installation: Installation, told: Told, key: str, body: dict[str, Any], until: float) -> None:
    """Send until somebody accepts it: a client that has no answer sends the same again, to the next server."""
    for attempt in range(10_000):
        http = installation.http[(int(key.rpartition("/")[2]) + attempt) % 2]
        try:
            answer = http.post("/v1/edits", json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError as error:
            told.refused(type(error).__name__)
        else:
            if answer.status_code == 202:
                told.accepted_as(key, answer.json()["id"])
                return
            told.refused(f"{answer.status_code} {_code(answer)}")
            if answer.status_code not in _TRY_AGAIN:
                told.wrong.append(f"POST /v1/edits was answered with {answer.status_code}: {answer.text[:300]}")
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
