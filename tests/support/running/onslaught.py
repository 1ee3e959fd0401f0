"""Sending odd bodies to a server, and looking at each answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import httpx

from api_schemas.facts import SUBJECT_SLOT
from tests.support.running.odd_bodies import Sent

_REFUSALS: Final = frozenset({400, 404, 409, 413, 415, 422, 429})
_PIECE_BYTES: Final = 65_536
_LONGEST_ANSWER: Final = 100_000
"""A refusal of a megabyte does not send it back."""


class Onslaught:
    """`answers` counts what came: status and code of the problem."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.answers: Counter[str] = Counter()

    def send(self, sent: Sent) -> list[str]:
        """What is wrong with the answer; nothing, as a rule."""
        content: Any = _pieces(sent.content) if sent.chunked else sent.content
        headers = {name: value.encode("latin-1", "replace") for name, value in sent.headers.items()}
        answer = self._http.post(sent.path, content=content, headers=headers, params=sent.query)
        if answer.status_code == 202:
            self.answers["202"] += 1
            return self._as_kept(sent, answer)
        return self._as_refused(answer)

    def _as_refused(self, answer: httpx.Response) -> list[str]:
        if answer.status_code not in _REFUSALS:
            return [f"{answer.status_code}: {answer.text[:500]}"]
        if answer.headers["content-type"] != "application/problem+json":
            return [f"a refusal as {answer.headers['content-type']}: {answer.text[:500]}"]
        if len(answer.content) > _LONGEST_ANSWER:
            return [f"a refusal of {len(answer.content)} bytes: {answer.text[:500]}"]
        problem = answer.json()
        self.answers[f"{answer.status_code} {problem['code']}"] += 1
        said = (problem["status"], bool(problem["code"]), bool(problem["detail"].strip()))
        return [] if said == (answer.status_code, True, True) else [f"not a whole problem: {answer.text[:500]}"]

    def _as_kept(self, sent: Sent, answer: httpx.Response) -> list[str]:
        """What was accepted can be read again, letter for letter."""
        place = answer.headers["location"]
        if self._http.get(place).status_code != 200:
            return [f"{place} was accepted and cannot be read"]
        if sent.facts is None or sent.path != "/v1/edits":
            return []
        kept = self._http.get(f"{place}/facts", params={"limit": 1000}).json()["data"]
        # Through JSON, where two halves of a surrogate pair beside one another are one character.
        wanted = [_as_ours(json.loads(json.dumps(fact))) for fact in sent.facts]
        found = [{name: fact[name] for name in one} for fact, one in zip(kept, wanted, strict=True)]
        return [] if found == wanted else [f"sent {json.dumps(wanted)[:1000]}, kept {json.dumps(found)[:1000]}"]


def _pieces(content: bytes) -> Iterator[bytes]:
    for first in range(0, len(content), _PIECE_BYTES):
        yield content[first : first + _PIECE_BYTES]


def _as_ours(fact: dict[str, Any]) -> dict[str, Any]:
    """With the slot in the prompt, where the subject was written out."""
    prompt = fact["prompt"]
    if SUBJECT_SLOT not in prompt:
        prompt = prompt.replace(fact["subject"], SUBJECT_SLOT, 1)
    return {**fact, "prompt": prompt}
