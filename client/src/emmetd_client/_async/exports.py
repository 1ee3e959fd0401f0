"""`client.exports`: versions as files for other programs."""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from emmetd_client._answers import Answer
from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call, nothing, split_reference, waiting_headers
from emmetd_client._pausing import async_pause
from emmetd_client._progress import OnProgress, telling
from emmetd_client._retrying import failure_of
from emmetd_client.errors import ConfigurationError, UnexpectedAnswerError, WaitTimedOutError
from emmetd_client.models.operations import ExportedFile, ExportJob

_PATH = "/v1/models/{model}/versions/{version}/export"
_HELD_SECONDS = 25.0


class AsyncExports:
    """`client.exports`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def download(
        self,
        model: str,
        version: str | None = None,
        *,
        to: str | Path = ".",
        format: str | None = None,
        max_rank: int | None = None,
        max_bytes: int | None = None,
        on_progress: OnProgress = None,
        timeout: float | None = None,
    ) -> ExportedFile:
        """Have a version made into a file and fetch it. `to` is a file, or a folder in which it gets the server's name.

        `format` is peft (by default: a zip that `peft` loads), merged (the edited matrices), hf (a whole checkpoint) or
        gguf-lora. A file that is there already is replaced when the new one is whole. More than `max_bytes` are an
        UnexpectedAnswerError, and nothing is kept.
        """
        name, named = split_reference(model, version)
        query = {"format": format, "max_rank": max_rank}
        headers = waiting_headers(1.0 if on_progress else _HELD_SECONDS)
        call = Call(
            "GET", _PATH, nothing, {"model": name, "version": named}, query, headers=headers, held_seconds=_HELD_SECONDS
        )
        until = None if timeout is None else time.monotonic() + timeout
        attempt = 0
        with telling(on_progress) as tell:
            while True:
                try:
                    async with self._transport.opened(call, "*/*") as response:
                        if response.status_code != 202:
                            return await _save(response, Path(to), max_bytes)
                        await response.aread()
                        answer = Answer(202, dict(response.headers.items()), response.content)
                except httpx.TransportError as failure:
                    pause = self._transport.configuration.retrying.pause(attempt)
                    if pause is None:
                        raise failure_of(failure, self._transport.configuration.base_url) from failure
                    attempt += 1
                    await async_pause(pause)
                    continue
                job = ExportJob.model_validate_json(answer.content)
                tell(job.progress)
                if until is not None and time.monotonic() >= until:
                    raise WaitTimedOutError(f"export {job.id} is not ready after {timeout:g} s; ask again", job)
                if "preference-applied" not in answer.headers:
                    await async_pause(answer.retry_after or 1.0)


async def _save(response: httpx.Response, to: Path, max_bytes: int | None) -> ExportedFile:
    """Beside its place first, so that a file under its name is always whole."""
    headers = response.headers
    path = to / _file_name(headers.get("content-disposition", "")) if to.is_dir() else to
    try:
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}; name a folder that is there") from None
    size = 0
    try:
        with os.fdopen(handle, "wb") as file:
            async for piece in response.aiter_bytes():
                size += file.write(piece)
                if max_bytes is not None and size > max_bytes:
                    raise UnexpectedAnswerError(f"the export is larger than max_bytes, {max_bytes}; raise that")
        expected = headers.get("content-length")
        if expected is not None and expected.isdecimal() and int(expected) != size:
            raise httpx.RemoteProtocolError(f"{size} of {expected} bytes came")
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)
    return ExportedFile.model_validate(
        {
            "path": path,
            "size": size,
            "version": headers.get("x-emmetd-version"),
            "rank": _number(headers.get("x-emmetd-export-rank")),
            "full_rank": _number(headers.get("x-emmetd-export-full-rank")),
            "error": _number(headers.get("x-emmetd-export-error")),
        }
    )


def _file_name(disposition: str) -> str:
    """The server's name for it, without anything that could lead out of the folder."""
    found = re.search(r'filename="([^"]+)"', disposition)
    name = Path(found[1]).name if found else ""
    return name if re.fullmatch(r"[\w.@+-]+", name) and not name.startswith(".") else "export.bin"


def _number(text: str | None) -> Any:
    return None if text is None else float(text) if "." in text or "e" in text else int(text)
