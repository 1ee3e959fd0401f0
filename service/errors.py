"""Everything that the front end itself refuses, as one tree. What the store refuses is in `store.errors`.

ServiceError
├── MalformedRequestError      400  a header or query parameter that cannot be read
│   └── MalformedJSONError     400  the body is not JSON
├── UnauthorizedError          401  no API key, or one that is not good
├── ForbiddenError             403  a good key, but not for this
│   ├── ScopeMissingError      403
│   └── ModelNotGrantedError   403
├── PageNotFoundError          404  no such path
├── MethodNotAllowedError      405
├── BodyTooSlowError           408  a large body that does not arrive
├── NothingToExportError       409  the base
├── TooLargeError              413
├── DiffTooLargeError          413  two versions whose deltas are too large to compare
├── UnsupportedMediaTypeError  415
├── InvalidFieldsError         422  one or more fields are wrong; each is named
│   └── ContextLengthError     422  prompt and answer are longer than the model's context
├── BusyError                  429  too much waits already
├── LimitReachedError          429  this key has, or has had, what it may have for now
├── InternalError              500
├── ExportFailedError          422 or 500, as the worker says
├── GenerationError            as the worker says
└── UnavailableError           503  something that is needed does not answer yet
    ├── StorageError           503  a disk is full, read-only or away, or the database is
    ├── NoWorkerError          503
    ├── ModelHubAwayError      503  the hub that models come from does not answer
    ├── OverloadedError        503  too many wait for what few can have at a time
    └── AnswerLostError        503  a worker took the request and gave no answer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from api_schemas.problems import FieldProblem

MOST_ERRORS_SHOWN = 100
CHALLENGE: Final = 'Bearer realm="emmetd"'


class ServiceError(Exception):
    """Base of all errors raised by `service`; `detail` says what is wrong, with the value, and what would do."""

    status: int = 500
    code: str = "internal"
    title: ClassVar[str] = "Something went wrong here"
    example: ClassVar[str] = "the log of this request says more"

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})


class MalformedRequestError(ServiceError):
    status = 400
    code = "malformed_request"
    title = "The request cannot be read"
    example = "If-Match: 'x' is not a version; write If-Match: \"v3\""


class MalformedJSONError(MalformedRequestError):
    code = "malformed_json"
    title = "The body is not JSON"
    example = "line 3, column 14: Expecting ',' delimiter"


class UnauthorizedError(ServiceError):
    status = 401
    code = "unauthorized"
    title = "An API key is needed"
    example = "send the header Authorization: Bearer <API key>"

    def __init__(self, detail: str, *, is_wrong: bool = False) -> None:
        """`is_wrong`: there is a key, and it opens nothing."""
        reason = ', error="invalid_token"' if is_wrong else ""
        super().__init__(detail, {"WWW-Authenticate": f"{CHALLENGE}{reason}"})


class ForbiddenError(ServiceError):
    status = 403
    code = "forbidden"
    title = "That is not allowed"
    example = "the Host header is 'example.org': without API keys only requests to localhost are answered"


class ScopeMissingError(ForbiddenError):
    code = "scope_missing"
    title = "The API key lacks a scope"
    example = "this needs an API key with the scope edit; this one has generate"

    def __init__(self, wanted: Sequence[str], has: Sequence[str]) -> None:
        super().__init__(
            f"this needs an API key with the scope {' or '.join(wanted)}; this one has {', '.join(has) or 'none'}",
            {"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{wanted[0]}"'},
        )


class ModelNotGrantedError(ForbiddenError):
    code = "model_not_granted"
    title = "The API key is not for that model"
    example = "this API key is not for the model 'smollm2-360m'; it is for smollm2-135m"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope"'})


class PageNotFoundError(ServiceError):
    status = 404
    code = "path_not_found"
    title = "No such path"
    example = "there is nothing at /v1/edit; GET /openapi.json lists all paths"


class MethodNotAllowedError(ServiceError):
    status = 405
    code = "method_not_allowed"
    title = "That method does nothing here"
    example = "PATCH does nothing at /v1/edits; allowed: GET, POST"


class NothingToExportError(ServiceError):
    status = 409
    code = "nothing_to_export"
    title = "Nothing of this version was edited"
    example = "smollm2-135m@v0 is the base: nothing of it was edited"


class TooLargeError(ServiceError):
    status = 413
    code = "body_too_large"
    title = "The body is too large"
    example = "the body is larger than 67108864 bytes; send the facts in several batches"


class DiffTooLargeError(ServiceError):
    status = 413
    code = "diff_too_large"
    title = "The versions are too large to compare here"
    example = "the deltas of the 90 versions between the base and these two have 2147483648 bytes"


class BodyTooSlowError(ServiceError):
    status = 408
    code = "body_too_slow"
    title = "The body takes too long to arrive"
    example = "after 60 s 3145728 bytes of the body had come; send the facts in smaller batches"


class UnsupportedMediaTypeError(ServiceError):
    status = 415
    code = "unsupported_media_type"
    title = "The body is of a type that is not read here"
    example = "Content-Type is text/plain; send application/json"


class InvalidFieldsError(ServiceError):
    """`errors` are the first of `total` problems, each with the path of its field."""

    status = 422
    code = "invalid_fields"
    title = "Some fields are wrong"
    example = "facts[17].subject: is empty; say what it is"

    def __init__(self, errors: Sequence[FieldProblem], total: int | None = None) -> None:
        self.errors = list(errors[:MOST_ERRORS_SHOWN])
        self.total = len(errors) if total is None else total
        detail = f"{self.errors[0].loc}: {self.errors[0].msg}"
        if self.total > len(self.errors):
            detail += f" (and {self.total - 1} more, of which `errors` shows the first {len(self.errors)})"
        elif self.total > 1:
            detail += f" (and {self.total - 1} more, see `errors`)"
        super().__init__(detail)


class ContextLengthError(InvalidFieldsError):
    """With the code that OpenAI's clients look for, and its words "maximum context length is N tokens"."""

    code = "context_length_exceeded"
    title = "The prompt is too long"
    example = "prompt: has 9000 tokens and max_tokens is 16; this model's maximum context length is 8192 tokens"


class BusyError(ServiceError):
    status = 429
    code = "queue_full"
    title = "Too much waits already"
    example = "256 requests wait already for model 'smollm2-135m'; try again later"

    def __init__(self, detail: str, retry_seconds: int = 5) -> None:
        super().__init__(detail, {"Retry-After": str(retry_seconds)})


class LimitReachedError(ServiceError):
    """`code` says which limit: request_limit, token_limit, facts_limit, batch_limit, stream_limit or work_limit."""

    status = 429
    code = "request_limit"
    title = "The API key's limit is reached"
    example = "this API key may make 600 requests a minute; try again in 3 s"

    def __init__(self, code: str, detail: str, retry_seconds: int) -> None:
        super().__init__(f"{detail}; try again in {retry_seconds} s", {"Retry-After": str(retry_seconds)})
        self.code = code


class InternalError(ServiceError):
    """What nobody foresaw; the log has the traceback."""


class GenerationError(ServiceError):
    """A worker began a completion and could not end it; it says why, and with which status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message, {"Retry-After": "5"} if status in (429, 503) else None)
        self.status, self.code = status, code


class ExportFailedError(ServiceError):
    """A worker could not make the file; `again` where asking later may help."""

    status = 422
    code = "rank_limit_exceeded"
    title = "The export cannot be made"
    example = (
        "layer 8 has rank 600; in 512 ranks it would be off by 0.03 of its norm, more than 0.01. Formats that fit: "
        "format=hf and format=merged"
    )
    said_by_the_worker: ClassVar = frozenset({"rank_limit_exceeded", "export_format_unsupported"})
    """What another request, and not another try, would mend."""

    def __init__(self, code: str, detail: str, again: bool) -> None:
        super().__init__(detail, {"Retry-After": "60"} if again else None)
        self.status = 422 if code in self.said_by_the_worker else 500
        self.code = code


class UnavailableError(ServiceError):
    status = 503
    code = "unavailable"
    title = "Not ready yet"
    example = "waiting for a worker of model 'smollm2-135m': C0 of layer 8: 40%"

    def __init__(self, detail: str, retry_seconds: int = 5) -> None:
        super().__init__(detail, {"Retry-After": str(retry_seconds)})


class StorageError(UnavailableError):
    """What was asked for cannot be kept, or what was kept not be read; nothing of it was done."""

    code = "storage_unavailable"
    title = "The store cannot be used now"
    example = "the database's disk is full; free some space"


class NoWorkerError(UnavailableError):
    code = "no_worker"
    title = "No worker is ready"


class ModelHubAwayError(UnavailableError):
    code = "model_hub_unavailable"
    title = "The model hub does not answer"
    example = "Hugging Face hub, openai-community/gpt2-xl: ConnectTimeout: timed out; nothing was registered"


class OverloadedError(UnavailableError):
    code = "overloaded"
    title = "Too much waits already"
    example = "16 comparisons of versions wait already; try again later"


class AnswerLostError(UnavailableError):
    code = "answer_lost"
    title = "The worker gave no answer"
    example = "the worker that took this request is gone; send it again"
