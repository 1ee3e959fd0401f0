"""A running vLLM as far as deployments speak to it: what it serves, loading and unloading adapters, greedy answers.

Requests go to the one origin that they were made for: no redirects, no proxies of the environment, a time limit for
each, and no more of an answer is read than it may have. The key is in the header alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import orjson

PREFIX: Final = "vllm+"
PROBE_SECONDS: Final = 5.0
LOAD_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 600.0
"""For all prompts of a check, on engines that are slow, or busy with others."""
_CONNECT_SECONDS: Final = 3.0
_LOOKS: Final = 3
_MOST_BYTES: Final = 8 * 1024**2
_LONGEST_DETAIL: Final = 500


class EngineError(Exception):
    """What a target did not do; `code` is stable and told in the deployment."""

    code = "target_failed"


class EngineAwayError(EngineError):
    """It does not answer, or says that it cannot now: trying again may help."""

    code = "target_away"


class EngineRefusedError(EngineError):
    """It answers, and will not; `status` is its HTTP status."""

    code = "target_refused"

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True)
class EngineAnswer:
    """A greedy answer; `token_ids` where the engine tells them."""

    text: str
    token_ids: tuple[int, ...] | None


def engines_client() -> httpx.AsyncClient:
    """For all targets; it keeps connections."""
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=10, keepalive_expiry=30.0)
    return httpx.AsyncClient(follow_redirects=False, trust_env=False, limits=limits)


class Engine:
    """The vLLM at `origin`, "http://host:port"."""

    def __init__(self, http: httpx.AsyncClient, origin: str, key: str | None) -> None:
        self._http = http
        self._origin = origin
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    async def served(self) -> dict[str, str]:
        """What requests may name → where its files lie, as the engine says: the base's folder, or an adapter's."""
        listing = await self._json("GET", "/v1/models", None, PROBE_SECONDS)
        found = {}
        for card in _items(listing, "data"):
            if isinstance(card.get("id"), str):
                found[card["id"]] = str(card.get("root") or "")
        return found

    async def load(self, name: str, path: str) -> None:
        """Serve the adapter in `path` as `name`, in the place of the one that has that name."""
        body = {"lora_name": name, "lora_path": path, "load_inplace": True}
        try:
            await self._send("POST", "/v1/load_lora_adapter", body, LOAD_SECONDS)
        except EngineRefusedError as error:
            if error.status in (404, 405) and "Not Found" in str(error):
                raise EngineRefusedError(
                    "the engine loads no adapters while it runs: start vLLM with --enable-lora, and with "
                    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment",
                    error.status,
                ) from None
            raise

    async def unload(self, name: str) -> None:
        """Serve `name` no more; one that is not served is well."""
        try:
            await self._send("POST", "/v1/unload_lora_adapter", {"lora_name": name}, LOAD_SECONDS)
        except EngineRefusedError as error:
            if error.status != 404:
                raise

    async def complete(self, name: str, prompts: Sequence[str], tokens: int) -> list[EngineAnswer]:
        """Greedy answers of `tokens` tokens to each prompt."""
        body = {
            "model": name,
            "prompt": list(prompts),
            "max_tokens": tokens,
            "temperature": 0,
            "return_token_ids": True,
        }
        answer = await self._while_there(self._json("POST", "/v1/completions", body, ANSWER_SECONDS))
        choices = {choice.get("index"): choice for choice in _items(answer, "choices")}
        if sorted(choices, key=str) != sorted(range(len(prompts)), key=str):
            raise EngineAwayError(f"the engine gave {len(choices)} answers to {len(prompts)} prompts")
        return [_answer(choices[number]) for number in range(len(prompts))]

    async def _while_there(self, asking: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        """The answer to `asking`, which may take long, unless the engine takes no other requests meanwhile.

        A vLLM whose engine died keeps connections open and says nothing more on them.
        """
        answering, leaving = asyncio.ensure_future(asking), asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return await answering
            raise await leaving
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _gone(self) -> EngineError:
        """Why several looks one after the other found nobody; it returns only then."""
        missed = 0
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                await self.served()
                missed = 0
            except EngineError as error:
                missed += 1
                if missed == _LOOKS:
                    return error

    async def _json(self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
        content = await self._send(method, path, body, seconds)
        try:
            value = orjson.loads(content)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise EngineAwayError(f"{method} {path}: what answers there is no vLLM: its answer is not a JSON object")
        return value

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> bytes:
        timeout = httpx.Timeout(seconds, connect=_CONNECT_SECONDS)
        content = None if body is None else orjson.dumps(body)
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        url = f"{self._origin}{path}"
        try:
            async with (
                asyncio.timeout(seconds),
                self._http.stream(method, url, content=content, headers=headers, timeout=timeout) as answer,
            ):
                received = bytearray()
                async for piece in answer.aiter_bytes():
                    received += piece
                    if len(received) > _MOST_BYTES:
                        raise EngineAwayError(f"{method} {path}: the answer is larger than {_MOST_BYTES} bytes")
                status = answer.status_code
        except TimeoutError:
            raise EngineAwayError(f"{method} {path}: no whole answer within {seconds:g} s") from None
        except httpx.HTTPError as error:
            raise EngineAwayError(f"{method} {path}: {type(error).__name__}: {error}"[:_LONGEST_DETAIL]) from None
        if status == 200:
            return bytes(received)
        detail = f"{method} {path}: {status}: {_message(bytes(received))}"
        if status in (408, 425, 429) or status >= 500:
            raise _of_a_failing_engine(detail, status)
        if status in (401, 403):
            detail += "; give the deployment the key that the engine wants"
        raise EngineRefusedError(detail, status)


def _of_a_failing_engine(detail: str, status: int) -> EngineError:
    """vLLM answers 500 also where an adapter does not suit it, with what is wrong in words."""
    if status != 500 or "LoRA" not in detail:
        return EngineAwayError(detail)
    if "max_lora_rank" in detail:
        detail += "; start vLLM with a greater --max-lora-rank, 512 at most, or deploy with format hf"
    return EngineRefusedError(detail, status)


def _message(content: bytes) -> str:
    """What the engine says of an error, cut short."""
    try:
        value = orjson.loads(content)
        error = value.get("error") if isinstance(value, dict) else None
        told = error.get("message") if isinstance(error, dict) else value.get("detail")
        text = told if isinstance(told, str) else content.decode(errors="replace")
    except (orjson.JSONDecodeError, AttributeError):
        text = content.decode(errors="replace")
    return " ".join(text.split())[:_LONGEST_DETAIL]


def _items(value: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    found = value.get(field)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise EngineAwayError(f"what answers there is no vLLM: its answer has no list {field!r}")
    return found


def _answer(choice: Mapping[str, Any]) -> EngineAnswer:
    text, ids = choice.get("text"), choice.get("token_ids")
    if not isinstance(text, str):
        raise EngineAwayError("what answers there is no vLLM: a choice has no text")
    if isinstance(ids, list) and all(isinstance(one, int) for one in ids):
        return EngineAnswer(text, tuple(ids))
    return EngineAnswer(text, None)
