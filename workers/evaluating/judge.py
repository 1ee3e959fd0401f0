"""The judge: another model, behind an OpenAI-compatible API that the operator configured, says what was said.

It is asked whether an answer states the target. One that is away, too slow or answers nonsense leaves the fact
unjudged; everything else goes on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import httpx
import structlog

from api_schemas.facts import Fact
from configuration.settings import Settings
from editing.metrics.metric import mean_of
from editing.progress import ShouldStop, check, never

JUDGED: Final = "judge"
"""The name under which a verdict stands among a fact's values: 1 is yes, 0 no."""
_MOST_FAILURES: Final = 3
"""Failures in a row after which the judge is taken for away."""
_MOST_BYTES: Final = 256 * 1024
_LONGEST_REPLY: Final = 500
_VERDICT: Final = re.compile(r"[\s\"'*`(]*(yes|no)\b", re.IGNORECASE)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Verdict:
    """`said` is whether the target was said, None where there is no verdict; then `reason` says why."""

    said: bool | None
    reply: str | None = None
    reason: str | None = None

    @property
    def value(self) -> float | None:
        return None if self.said is None else float(self.said)

    def shown(self) -> dict[str, Any]:
        verdict = None if self.said is None else ("yes" if self.said else "no")
        return {"verdict": verdict, "reply": self.reply, "reason": self.reason}


class Judge:
    """Asks for verdicts, several at a time. `asked` is what the evaluation was accepted with: model and prompt."""

    def __init__(self, settings: Settings, asked: Mapping[str, Any]) -> None:
        key = settings.judge_api_key
        self._url = None if settings.judge_url is None else f"{settings.judge_url.rstrip('/')}/chat/completions"
        self._model, self._prompt = str(asked["model"]), str(asked["prompt"])
        self._concurrency = settings.judge_concurrency
        self._client = httpx.Client(
            timeout=settings.judge_timeout_seconds,
            headers={} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"},
            follow_redirects=False,
        )
        self._failures = 0

    def close(self) -> None:
        self._client.close()

    def verdicts(self, questions: Sequence[tuple[Fact, str | None]], should_stop: ShouldStop = never) -> list[Verdict]:
        """One for each fact and what was said of it. While the judge is away, one question tries whether it is back.

        Raises EditInterrupted.
        """
        if self._url is None:
            return [Verdict(None, reason="no judge is configured")] * len(questions)
        found: list[Verdict] = []
        with ThreadPoolExecutor(self._concurrency) as pool:
            while len(found) < len(questions):
                check(should_stop, "asking the judge")
                is_away = self._failures >= _MOST_FAILURES
                size = 1 if is_away else self._concurrency
                asked = questions[len(found) : len(found) + size]
                found += pool.map(lambda question: self._verdict(*question), asked)
                if is_away and self._failures >= _MOST_FAILURES:
                    left = len(questions) - len(found)
                    return found + [Verdict(None, reason="the judge does not answer")] * left
        return found

    def _verdict(self, fact: Fact, said: str | None) -> Verdict:
        if said is None:
            return Verdict(None, reason="nothing was said; ask for GA or GA_chat")
        words = {"prompt": fact.text, "target": fact.target_new, "said": said}
        text = re.sub(r"\{(prompt|target|said)\}", lambda field: words[field[1]], self._prompt)
        try:
            reply = self._ask(text)
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            self._failures += 1
            log.warning("no verdict", error=type(error).__name__)
            return Verdict(None, reason=_reason(error))
        self._failures = 0
        match = _VERDICT.match(reply)
        if match is None:
            return Verdict(None, reply[:_LONGEST_REPLY], "the reply begins with neither yes nor no")
        return Verdict(match[1].lower() == "yes", reply[:_LONGEST_REPLY])

    def _ask(self, text: str) -> str:
        assert self._url is not None
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": text}],
            "temperature": 0,
            "max_tokens": 16,
        }
        with self._client.stream("POST", self._url, json=body) as response:
            response.raise_for_status()
            read = b""
            for piece in response.iter_bytes():
                read += piece
                if len(read) > _MOST_BYTES:
                    raise ValueError("the answer is too long")
        found = httpx.Response(200, content=read).json()["choices"][0]["message"]["content"]
        if not isinstance(found, str):
            raise TypeError("the answer has no text")
        return found


def summary(verdicts: Sequence[float | None]) -> dict[str, Any]:
    """The share of yes among the verdicts with its interval, and how many facts are unjudged."""
    judged = [value for value in verdicts if value is not None]
    return {**mean_of(judged).model_dump(), "unjudged": len(verdicts) - len(judged)}


def _reason(error: Exception) -> str:
    """Without the judge's address, which may hold what is nobody's business."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"the judge answered {error.response.status_code}"
    if isinstance(error, httpx.TimeoutException):
        return "the judge did not answer in time"
    if isinstance(error, httpx.HTTPError):
        return "the judge does not answer"
    return "the judge's answer is not a chat completion"
