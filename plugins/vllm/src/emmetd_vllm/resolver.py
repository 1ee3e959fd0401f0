"""What vLLM asks for a model that is not loaded: `NAME@vN` or `NAME@ALIAS` becomes an adapter in a folder."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import zlib
from typing import Final

from emmetd_client import APIError, EmmetdError, PermissionDeniedError
from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver

from emmetd_vllm.adapters import Adapter, Adapters
from emmetd_vllm.bases import doubt
from emmetd_vllm.errors import NotServedError
from emmetd_vllm.settings import API_KEY, MODEL, NAME_PATTERN, Settings

REFERENCE: Final = re.compile(rf"({NAME_PATTERN})@([a-z][a-z0-9._-]{{0,63}})")
"""`v7` has the shape of an alias; emmetd tells them apart."""
_SAME_ANSWER_SECONDS: Final = 1.0
"""vLLM asks for each request, one after the other for a name: those that waited need not wait for a timeout each."""
_MOST_REMEMBERED: Final = 1000
_LONGEST_LINE: Final = 600

log = logging.getLogger("vllm.emmetd")
"""Below vLLM's own logger, whose handlers and level are thereby used."""


class EmmetdResolver(LoRAResolver):  # type: ignore[misc]  # vLLM is not installed where types are checked
    """Gives vLLM the adapters of emmetd's versions. What it cannot give is None, and a line in the log says why."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._adapters = Adapters(settings)
        self._refused_at: dict[str, float] = {}

    async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None:
        """The adapter of the version that `lora_name` means now, on the base that vLLM serves, or None.

        Raises nothing of its own: vLLM answers None with a 404, and an exception with a 500.
        """
        found = REFERENCE.fullmatch(lora_name)
        if found is None:
            self._tell(logging.INFO, lora_name, "it is no NAME@VERSION of emmetd, which is not asked; write NAME@v7")
            return None
        if time.monotonic() - self._refused_at.get(lora_name, float("-inf")) < _SAME_ANSWER_SECONDS:
            return None
        try:
            adapter = await self._adapter(base_model_name, found[1], found[2])
        except Exception as error:  # whatever it is, vLLM goes on
            self._remember(lora_name)
            self._tell(logging.WARNING, lora_name, _reason(error))
            return None
        path = str(adapter.folder)
        # vLLM puts a number of its own in the place of this one, which only has to be positive.
        return LoRARequest(lora_name=lora_name, lora_int_id=zlib.crc32(path.encode()) + 1, lora_path=path)

    async def _adapter(self, base_model_name: str, name: str, reference: str) -> Adapter:
        asked, settings = f"{name}@{reference}", self._settings
        if settings.model is not None and name != settings.model:
            raise NotServedError(f"{MODEL} says that this vLLM serves {settings.model}; ask for {settings.model}@v7")
        adapter = await self._adapters.get(name, reference)
        doubtful = await asyncio.to_thread(doubt, base_model_name, adapter, settings.model)
        if doubtful is not None:
            log.warning("%s", self._line(doubtful))
        told = f"{adapter.version}, of rank {adapter.rank}, lies in {adapter.folder}"
        if asked != adapter.version:
            told += f"; {asked} is that version until the name is unloaded, wherever the alias moves"
        log.info("%s", self._line(told))
        return adapter

    def _tell(self, level: int, name: str, reason: str) -> None:
        log.log(level, "%s", self._line(f"{name[:150]!r} is not served: {reason}"))

    def _line(self, text: str) -> str:
        """One line of bounded length, without the key, whoever repeated it."""
        key = self._settings.api_key
        text = text.replace(key, f"({API_KEY})") if key else text
        return " ".join(text.split())[:_LONGEST_LINE]

    def _remember(self, name: str) -> None:
        if len(self._refused_at) >= _MOST_REMEMBERED:
            self._refused_at.clear()
        self._refused_at[name] = time.monotonic()


def _reason(error: Exception) -> str:
    """Cause and remedy."""
    if isinstance(error, PermissionDeniedError):
        return f"{error}; {API_KEY} needs the scope edit, for this model: make one with `emmetd keys create`"
    if isinstance(error, APIError) and error.code == "rank_limit_exceeded":
        return f"{error}; serve format=hf, or consolidate the version"
    if isinstance(error, NotServedError | EmmetdError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "emmetd did not give its file in time; see whether a worker of the model is ready, and ask again"
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error}; make room in EMMETD_VLLM_CACHE, or set it to a folder to write in"
    return f"{type(error).__name__}: {error}; report this to the makers of emmetd"
