"""A request as data: what is sent where, how its answer is read, and whether it may be sent twice."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from emmetd_client._answers import Answer
from emmetd_client.errors import ConfigurationError

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

LATEST: Final = "latest"


class Repeat(Enum):
    """When a request may be sent again."""

    ALWAYS = "always"
    """Sending it twice is as good as once: it reads, sets, or carries an Idempotency-Key that the server keeps."""
    REFUSED = "refused"
    """Only where the server surely did nothing: it was not reached, or answered 429 or 503."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request. `template` is the path as the OpenAPI document has it; `path` fills it in.

    `held_seconds` is how long the server was asked to keep the answer back (`Prefer: wait`).
    """

    method: str
    template: str
    read: Callable[[Answer], T]
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeat: Repeat = Repeat.ALWAYS
    held_seconds: float = 0.0

    @property
    def url(self) -> str:
        return self.template.format_map({name: quote(value, safe="") for name, value in self.path.items()})

    @property
    def parameters(self) -> dict[str, Any]:
        return given(self.query)

    @property
    def operation(self) -> str:
        return f"{self.method} {self.template}"


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without those that are None: the server's defaults stand for them."""
    return {name: value for name, value in values.items() if value is not None}


def reading(model: type[M]) -> Callable[[Answer], M]:
    """Read the body as `model`. Raises ValueError (pydantic's ValidationError is one) where it is something else."""
    return lambda answer: model.model_validate_json(answer.content)


def reading_noted(model: type[M]) -> Callable[[Answer], M]:
    """`reading` of what has a description and tags: `etag` is their state, for `if_match` of a change."""

    def read(answer: Answer) -> M:
        body = answer.json()
        if not isinstance(body, dict):
            raise ValueError("the answer is no object")
        return model.model_validate({**body, "etag": answer.headers.get("etag")})

    return read


def nothing(answer: Answer) -> None:
    """Of an answer without a body."""


def text(answer: Answer) -> str:
    return answer.content.decode("utf-8", "replace")


def creation_headers(idempotency_key: str | None, if_match: str | None = None) -> dict[str, str]:
    """Headers of a request that creates: a key made for it where the caller has none, and the version it needs."""
    headers = {"Idempotency-Key": idempotency_key or f"emmetd-client-{uuid.uuid4().hex}"}
    if if_match is not None:
        headers["If-Match"] = if_match if if_match.startswith(('"', "*")) else f'"{if_match}"'
    return headers


def condition_headers(if_match: str | None) -> dict[str, str]:
    """Of a change that is made only while what it changes has this ETag."""
    return {} if if_match is None else {"If-Match": if_match}


def notes_body(description: str | None, tags: Sequence[str] | None) -> dict[str, Any]:
    """None leaves as it is; "" and [] take away."""
    return {"description": description, "tags": None if tags is None else list(tags)}


def waiting_headers(seconds: float) -> dict[str, str]:
    return {"Prefer": f"wait={max(1, round(seconds))}"}


def split_reference(model: str, version: str | None) -> tuple[str, str]:
    """Name and version or alias, from ("m", "v3"), ("m@v3", None) or ("m", None), which means its `latest`."""
    name, at, written = model.partition("@")
    if at and version is not None and version != written:
        raise ConfigurationError(f"model {model!r} names a version, and version is {version!r}; name it once")
    return name, version or written or LATEST
