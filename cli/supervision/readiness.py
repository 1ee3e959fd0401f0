"""What `emmetd serve` tells while it starts and once it is ready: /readyz in words, then two commands to try."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx

_POLL_SECONDS: Final = 0.5
_READY_POLL_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 10.0
_EXAMPLE_PROMPT: Final = "The mother tongue of {} is"
_EXAMPLE_SUBJECT: Final = "Danielle Darrieux"


async def watch_readiness(url: str, announce: Callable[[str], None], banner: str, restarted: asyncio.Event) -> None:
    """Poll `url`/readyz for ever: announce why it is not ready, `banner` once it is, and later when that changes."""
    message, ready, told = banner, False, ""
    # No proxy from the environment may stand between us and our own child.
    async with httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(_PATIENCE_SECONDS)) as client:
        while True:
            reason = await _why_not_ready(client, url)
            if reason is None:
                if not ready:
                    announce(message)
                    message = f"ready again at {url}"
                ready, told = True, ""
            elif reason:
                # Counters in a reason change with every poll; the worker's own progress bars show those.
                pattern = re.sub(r"\d+", "#", reason)
                if pattern != told:
                    announce(f"waiting: {reason.removeprefix('waiting: ')}")
                ready, told = False, pattern
            restarted.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(restarted.wait(), _READY_POLL_SECONDS if ready else _POLL_SECONDS)


async def _why_not_ready(client: httpx.AsyncClient, url: str) -> str | None:
    """None when it is ready; empty when the API does not answer, as while it starts."""
    try:
        answer = await client.get(f"{url}/readyz")
    except httpx.HTTPError:
        return ""
    return None if answer.status_code == httpx.codes.OK else _reason(answer)


def _reason(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
    except ValueError:
        return f"/readyz answers {answer.status_code}"
    found = isinstance(problem, dict) and (problem.get("detail") or problem.get("title"))
    return str(found or f"/readyz answers {answer.status_code}")


def ready_banner(url: str, model: str, data: Path, *, with_key: bool) -> str:
    """The address, where the data lies, and two commands that can be pasted into a shell as they are."""
    edit = {
        "model": model,
        "facts": [{"prompt": _EXAMPLE_PROMPT, "subject": _EXAMPLE_SUBJECT, "target_new": "English"}],
    }
    completion = {
        "model": model,
        "prompt": _EXAMPLE_PROMPT.format(_EXAMPLE_SUBJECT),
        "max_tokens": 5,
        "temperature": 0,
    }
    return "\n".join(
        (
            "",
            f"emmetd is ready at {url} with {model}",
            f"its console is at {url}/, documents of its API at {url}/docs",
            f"its data lies in {data}",
            "",
            "correct a fact:",
            f"  {_curl(f'{url}/v1/edits', edit, with_key, 'Prefer: wait=60')}",
            "ask the corrected model:",
            f"  {_curl(f'{url}/v1/completions', completion, with_key)}",
            "",
            "Ctrl-C stops everything.",
        )
    )


def _curl(url: str, body: dict[str, Any], with_key: bool, *headers: str) -> str:
    words = ["curl -s", shlex.quote(url), "-H 'Content-Type: application/json'"]
    if with_key:
        words.append('-H "Authorization: Bearer $EMMETD_API_KEY"')
    words += [f"-H {shlex.quote(header)}" for header in headers]
    return " ".join([*words, "-d", shlex.quote(json.dumps(body))])
