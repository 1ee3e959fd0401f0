"""Everything that this package raises, as one tree.

EmmetdError                    the message names what is wrong and the remedy
├── ConfigurationError         an address, a key or a limit that cannot be used
├── FactsError                 facts in a shape that no server takes; names file, line and column where there are any
├── ConnectionFailedError      the server cannot be reached, or hung up before its answer was whole
│   └── TimedOutError          it did not answer in time
├── UnexpectedAnswerError      an answer that this release cannot read
├── NotOfferedError            the server's release has no such operation or field
├── WaitTimedOutError          a job has not ended in the time given to `wait`; it goes on
├── JobEndedError              a job has ended without the result that was waited for
│   ├── JobRejectedError       it was measured, and is outside its thresholds or its line's budget
│   ├── JobFailedError
│   └── JobCancelledError
└── APIError                   the server refused; `status`, `code`, `fields`, `remedy` and `request_id` say more
    ├── BadRequestError        400  what was sent cannot be read
    ├── AuthenticationError    401  no API key, or one that is not good
    ├── PermissionDeniedError  403  a good key, but not for this
    │   └── ScopeMissingError  403  `scope` is the one that is missing
    ├── NotFoundError          404
    ├── ConflictError          409  what the request was made for has changed meanwhile
    ├── TooLargeError          413
    ├── InvalidFieldsError     422  `fields` names each field that is wrong
    ├── RateLimitError         429  `retry_after` seconds
    └── ServerError            5xx
        └── UnavailableError   503  something that is needed does not answer yet
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from emmetd_client.models.jobs import Job

REMEDIES: Final[Mapping[str, str]] = {
    "unauthorized": "set EMMETD_API_KEY, or pass api_key",
    "scope_missing": "use another key; an operator makes one with `emmetd keys create`",
    "model_not_granted": "use a key that is for this model; an operator makes one with `emmetd keys create`",
    "alias_moved": "read the alias again and pass the version it has now as `expected`",
    "alias_protected": "use a key with the scope admin",
    "parent_moved": "submit the batch again: it is then made on what the alias means now",
    "idempotency_key_reused": "leave idempotency_key out, so that each create gets one of its own",
    "no_worker": "wait until a worker of the model is ready; GET /readyz says what is awaited",
    "body_too_large": "send the facts in several batches",
    "queue_full": "wait until some of the work has ended",
    "budget_exceeded": "consolidate the version, or submit with a larger budget",
}
"""Code → what to do about it, for servers that do not say it in a field `remedy` of their own."""


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field. `loc` is its path in the request, such as `facts[17].subject`."""

    loc: str
    message: str

    def __str__(self) -> str:
        return f"{self.loc}: {self.message}"


class EmmetdError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(EmmetdError):
    """The client was made with something that cannot work."""


class FactsError(EmmetdError):
    """`line` and `column` count from 1; they are None for facts that are from no file."""

    def __init__(self, message: str, *, path: str | None = None, line: int | None = None, column: int | None = None):
        place = "".join(
            (f"{path}: " if path else "", f"line {line}, " if line else "", f"column {column}: " if column else "")
        )
        super().__init__(place + message)
        self.path, self.line, self.column = path, line, column


class ConnectionFailedError(EmmetdError):
    """Nothing says whether the server did what was asked for; requests that may be repeated were repeated before."""


class TimedOutError(ConnectionFailedError):
    """The time limit of one request is reached."""


class UnexpectedAnswerError(EmmetdError):
    """The message names the release of the server and that of the client."""


class NotOfferedError(EmmetdError):
    """`missing` names operations and fields that the server does not know; `server_version` is its release."""

    def __init__(self, message: str, *, missing: Sequence[str], server_version: str) -> None:
        super().__init__(message)
        self.missing = list(missing)
        self.server_version = server_version


class WaitTimedOutError(EmmetdError):
    """`job` as it was last seen."""

    def __init__(self, message: str, job: Job) -> None:
        super().__init__(message)
        self.job = job


class JobEndedError(EmmetdError):
    """`job` as it ended; `code` and `remedy` are those of its error, `facts` the indices that it is about."""

    def __init__(self, job: Job) -> None:
        error = job.error
        self.job = job
        self.code = error.code if error else job.state
        self.facts = list(error.facts) if error else []
        self.remedy = (error.remedy if error else None) or REMEDIES.get(self.code)
        reason = f": {error.detail}" if error else ""
        super().__init__(f"{job.id} ended {job.state}{reason}{f'; {self.remedy}' if self.remedy else ''}")


class JobRejectedError(JobEndedError):
    """No version was published: what was measured is in `job.metrics`."""


class JobFailedError(JobEndedError):
    """It could not be done."""


class JobCancelledError(JobEndedError):
    """Somebody cancelled it."""


class APIError(EmmetdError):
    """The server answered with an error."""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str,
        title: str = "",
        fields: Sequence[FieldError] = (),
        remedy: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        self.detail, self.status, self.code, self.title = detail, status, code, title
        self.fields = list(fields)
        self.remedy = remedy or REMEDIES.get(code)
        self.request_id = request_id
        self.retry_after = retry_after
        self.problem = dict(problem or {})
        remedy_shown = f"; {self.remedy}" if self.remedy and self.remedy not in detail else ""
        super().__init__(f"{detail}{remedy_shown} ({status} {code})")


class BadRequestError(APIError):
    """What was sent cannot be read."""


class AuthenticationError(APIError):
    """No API key, or one that is not good."""


class PermissionDeniedError(APIError):
    """A good key, but not for this."""


class ScopeMissingError(PermissionDeniedError):
    """`scope` is one that would do."""

    scope: str | None = None


class NotFoundError(APIError):
    """There is nothing of that name."""


class ConflictError(APIError):
    """What the request was made for has changed meanwhile."""


class TooLargeError(APIError):
    """The body, or what would have to be compared, is too large."""


class InvalidFieldsError(APIError):
    """One or more fields are wrong."""


class RateLimitError(APIError):
    """Too much waits already, or the key has had what it may have for now."""


class ServerError(APIError):
    """The server could not do it."""


class UnavailableError(ServerError):
    """Something that is needed does not answer yet."""
