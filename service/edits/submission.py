"""What a client submits: the body, in either of its two types, and the headers that belong to it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import ValidationError

from api_schemas.edits import EditRequest
from api_schemas.facts import Fact
from api_schemas.references import ModelReference, version_number
from configuration.settings import Settings
from service.edits.left_out import LeftOut
from service.errors import MalformedRequestError
from service.facts import NumberedPair, most_elements, read_numbered
from service.http.bodies import NDJSON_TYPE, parse_json, parse_ndjson
from service.http.fields import FieldErrors, invalid, shown
from service.http.metric_names import CHECKED_NAMES
from service.models.references import reference_in

_NDJSON_PARAMETERS: Final = ("model", "algorithm", "label", "invalid_facts")


@dataclass(frozen=True)
class EditSubmission:
    """One POST as it came."""

    media_type: str
    body: bytes
    query: Mapping[str, str]
    idempotency_key: str | None
    if_match: str | None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that says what is to be done: two requests that differ in it are not the same."""
        digest = hashlib.sha256(self.media_type.encode())
        for part in (self.if_match or "", *(f"{name}={value}" for name, value in sorted(self.query.items()))):
            digest.update(b"\0" + part.encode())
        digest.update(b"\0\0" + self.body)
        return digest.hexdigest()

    @property
    def body_sha256(self) -> str | None:
        """What is kept with an Idempotency-Key, where there is one."""
        return None if self.idempotency_key is None else self.fingerprint

    def expected_version(self) -> int | None:
        """The version in `If-Match: "v3"`; None for no header and for `*`. Raises MalformedRequestError."""
        if self.if_match is None or self.if_match.strip() == "*":
            return None
        try:
            return version_number(re.sub(r'^"(.*)"$', r"\1", self.if_match.strip()))
        except ValueError:
            raise MalformedRequestError(
                f'If-Match: {self.if_match[:100]} is not a version; write If-Match: "v3"'
            ) from None


@dataclass(frozen=True)
class Batch:
    """A submission that is right in itself. `request.facts` is empty: the facts stand beside it, each after its index
    in the request. What is wrong with one of them is added to `odd`: all errors, or what is left out."""

    request: EditRequest
    reference: ModelReference
    numbered: list[NumberedPair]
    odd: FieldErrors

    @property
    def facts(self) -> list[Fact]:
        return [fact for _, fact in self.numbered]

    @property
    def left_out(self) -> list[dict[str, Any]]:
        """What is left out, as the batch's row keeps it."""
        return self.odd.kept() if isinstance(self.odd, LeftOut) else []

    def without_odd(self) -> Batch:
        """Without the facts that are left out. Raises InvalidFieldsError where none stays, or none is left out."""
        if isinstance(self.odd, LeftOut):
            right = [(index, fact) for index, fact in self.numbered if index not in self.odd.facts]
            if not right:
                self.odd.raise_all()
            return replace(self, numbered=right)
        self.odd.raise_if_any()
        return self


def read_batch(submission: EditSubmission, settings: Settings, errors: FieldErrors) -> Batch:
    """Raises MalformedJSONError, and InvalidFieldsError with everything that is wrong with single fields."""
    if submission.media_type == NDJSON_TYPE:
        envelope, facts = _from_ndjson(submission, most_elements(settings))
    else:
        envelope, facts = _from_json(parse_json(submission.body, most_elements(settings)))
    request: EditRequest | None = None
    try:
        request = EditRequest.model_validate({**envelope, "facts": []}, strict=True, context=CHECKED_NAMES)
    except ValidationError as error:
        errors.add_all(error, EditRequest)
    odd = LeftOut() if request is not None and request.invalid_facts == "skip" else errors
    numbered = read_numbered(facts, settings, odd)
    errors.raise_if_any()
    assert request is not None
    return Batch(request, reference_in(request.model), numbered, odd).without_odd()


def _from_json(value: Any) -> tuple[dict[str, Any], Any]:
    if not isinstance(value, dict):
        raise invalid("body", f"is {shown(value)}; it must be an object with model and facts")
    if "facts" not in value:
        raise invalid("facts", "is missing; add a list of facts")
    return {key: entry for key, entry in value.items() if key != "facts"}, value["facts"]


def _from_ndjson(submission: EditSubmission, most: int) -> tuple[dict[str, Any], list[Any]]:
    for name in submission.query:
        if name not in _NDJSON_PARAMETERS:
            known = ", ".join(_NDJSON_PARAMETERS)
            raise invalid(f"query.{name}", f"is not known here; known: {known}; application/json takes all settings")
    return dict(submission.query), parse_ndjson(submission.body, most)
