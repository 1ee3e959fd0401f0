"""Logs of every process: structlog, with the standard library's and uvicorn's records through the same pipe.

JSON, one object a line, when standard error is not a terminal; text when it is. Bind what a work is about once,

    with structlog.contextvars.bound_contextvars(edit=edit_id): ...

and it stands on every line of that work, libraries' lines too. Secrets are replaced on every line, tracebacks included.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from configuration import tracing
from configuration.settings import Settings
from configuration.sources import MASK

_SECRET_KEYS: Final = frozenset(
    {
        "api_key",
        "apikey",
        "authorization",
        "cookie",
        "hf_token",
        "judge_api_key",
        "password",
        "requirepass",
        "secret",
        "token",
        "x-api-key",
    }
)
_IN_TEXT: Final = (
    re.compile(
        r"(?P<kept>\b[a-z][a-z0-9+.-]*://[^/\s:@]*:)[^@\s/]+(?=@)", re.IGNORECASE
    ),  # scheme://user:password@host
    re.compile(r"(?P<kept>\bBearer\s+)[^\s'\",;]+", re.IGNORECASE),
    re.compile(r"(?P<kept>\bemk_[0-9a-f]{12}_)[\w-]{20,}"),  # an API key of ours; its id may be told
    re.compile(r"(?P<kept>\bwhsec_)[A-Za-z0-9+/=_-]{8,}"),  # what a webhook is signed with
)
# Chatty at info: one line for each request to a hub, each poll of a queue.
_QUIET_LOGGERS: Final = ("httpx", "httpcore", "urllib3", "filelock", "huggingface_hub", "alembic.runtime.migration")


class Redact:
    """Replaces secrets in an event: values under telling keys, and in text known secrets, URL passwords and bearers."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # Longest first, so that no part of a longer secret stays. Very short ones would blot out ordinary words.
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 6}, key=len, reverse=True)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        for key, value in event.items():
            event[key] = self._clean(key, value)
        return event

    def _clean(self, key: object, value: Any) -> Any:
        if isinstance(key, str) and key.lower() in _SECRET_KEYS and value is not None:
            return MASK
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, MutableMapping):
            return {inner: self._clean(inner, value[inner]) for inner in value}
        if isinstance(value, list | tuple):
            return [self._clean(None, item) for item in value]
        if isinstance(value, BaseException):
            return self.text(repr(value))
        return value

    def text(self, text: str) -> str:
        """`text` without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        for pattern in _IN_TEXT:
            text = pattern.sub(rf"\g<kept>{MASK}", text)
        return text


def configure_logs(settings: Settings, process: str, stream: TextIO | None = None) -> None:
    """Send this process's logs to `stream` (standard error); `process` ("api", "worker") stands on every line.

    Safe to call again: the last call holds.
    """
    stream = stream or sys.stderr
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if as_text else "iso", utc=not as_text),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        _Stamp(process),
        Redact(settings.secrets()),
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty() and not os.environ.get("NO_COLOR"), pad_event_to=0)
        if as_text
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    quiet_level = logging.DEBUG if settings.log_level == "debug" else logging.WARNING
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(quiet_level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        uvicorn_logger = logging.getLogger(name)
        uvicorn_logger.handlers.clear()
        uvicorn_logger.propagate = True
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _add_trace_id(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    if (trace_id := tracing.trace_id()) is not None:
        event["trace_id"] = trace_id
    return event


class _Stamp:
    """Adds the process's name, and takes out uvicorn's coloured double of the message."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event.pop("color_message", None)
        event.setdefault("process", self._process)
        return event


def _json(event: EventDict, **options: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
