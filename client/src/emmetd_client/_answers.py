"""From an answer of the server to what a caller gets: pydantic models, or errors of the tree in `errors`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final

from emmetd_client.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    FieldError,
    InvalidFieldsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ScopeMissingError,
    ServerError,
    TooLargeError,
    UnavailableError,
)

_BY_STATUS: Final[Mapping[int, type[APIError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
    413: TooLargeError,
    422: InvalidFieldsError,
    429: RateLimitError,
    503: UnavailableError,
}
_LONGEST_TEXT: Final = 300


@dataclass(frozen=True)
class Answer:
    """A whole answer: status, headers (names in lower case) and body."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""

    def json(self) -> Any:
        """Raises ValueError where the body is not JSON."""
        return json.loads(self.content)

    @property
    def retry_after(self) -> float | None:
        return seconds_of(self.headers.get("retry-after"))


def seconds_of(retry_after: str | None) -> float | None:
    """The header `Retry-After`, a number of seconds or a date, as seconds from now; None for anything else."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(int(retry_after)))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def error_of(answer: Answer) -> APIError:
    """The error that an answer of 400 and above means, whoever gave it: emmetd, its OpenAI paths, or a proxy."""
    body = _object(answer)
    if isinstance(envelope := body.get("error"), dict):
        return _from_envelope(answer, envelope)
    fields = [
        FieldError(str(one.get("loc", "")), str(one.get("msg", "")))
        for one in body.get("errors") or ()
        if isinstance(one, dict)
    ]
    detail = body.get("detail") or body.get("title") or _plain(answer)
    return _made(answer, str(detail), str(body.get("code") or f"http_{answer.status}"), fields, body)


def problem_error(problem: Mapping[str, Any], headers: Mapping[str, str]) -> APIError:
    """The error that problem details or OpenAI's envelope within a stream mean."""
    envelope = problem.get("error")
    status = problem.get("status")
    if not isinstance(status, int):
        kind = envelope.get("type") if isinstance(envelope, dict) else None
        status = {"rate_limit_error": 429, "service_unavailable": 503, "server_error": 500}.get(str(kind), 400)
    return error_of(Answer(status, headers, json.dumps(dict(problem)).encode()))


def _from_envelope(answer: Answer, envelope: Mapping[str, Any]) -> APIError:
    """OpenAI's: a wrong field is a 400 that names it in `param`."""
    param, message = envelope.get("param"), str(envelope.get("message") or _plain(answer))
    fields = [FieldError(str(param), message)] if param else []
    return _made(answer, message, str(envelope.get("code") or f"http_{answer.status}"), fields, envelope)


def _made(answer: Answer, detail: str, code: str, fields: list[FieldError], body: Mapping[str, Any]) -> APIError:
    kind = _BY_STATUS.get(answer.status, ServerError if answer.status >= 500 else APIError)
    if kind is BadRequestError and fields:
        kind = InvalidFieldsError
    if code == "scope_missing":
        kind = ScopeMissingError
    error = kind(
        detail,
        status=answer.status,
        code=code,
        title=str(body.get("title") or ""),
        fields=fields,
        remedy=body.get("remedy") if isinstance(body.get("remedy"), str) else None,
        request_id=answer.headers.get("x-request-id"),
        retry_after=answer.retry_after,
        problem=body,
    )
    if isinstance(error, ScopeMissingError):
        found = re.search(r'scope="([^"]*)"', answer.headers.get("www-authenticate", ""))
        error.scope = found[1] if found else None
    return error


def _object(answer: Answer) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _plain(answer: Answer) -> str:
    """What a proxy or another server said instead of a problem."""
    said = answer.content[:_LONGEST_TEXT].decode("utf-8", "replace").strip()
    return f"the server answered {answer.status}{f': {said}' if said else ''}"
