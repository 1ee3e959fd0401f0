"""Request bodies: their type, and JSON read strictly, because what a parser guesses may be edited into a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from service.errors import InvalidFieldsError, MalformedJSONError, TooLargeError, UnsupportedMediaTypeError
from service.http.fields import NO_UNIONS, FieldErrors, invalid, shown
from service.http.metric_names import CHECKED_NAMES

JSON_TYPE: Final = "application/json"
NDJSON_TYPE: Final = "application/x-ndjson"
_LONGEST_NUMBER: Final = 400
MOST_ELEMENTS: Final = 500_000
_MOST_KEYS: Final = 1000
_DEEPEST: Final = 50
"""Lists and objects in one another. Our schemas need seven; what walks a value may then do so by recursion."""
_TOO_DEEP: Final = "lists and objects are nested too deeply; send what the schema asks for"

Model = TypeVar("Model", bound=BaseModel)


def media_type(request: Request, *known: str) -> str:
    """The body's media type, one of `known`. Raises UnsupportedMediaTypeError."""
    sent = request.headers.get("content-type", "")
    found = sent.partition(";")[0].strip().lower()
    if found not in known:
        have = f"Content-Type is {sent[:100]}" if sent else "there is no Content-Type"
        raise UnsupportedMediaTypeError(f"{have}; send {' or '.join(known)}")
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise UnsupportedMediaTypeError(f"Content-Encoding is {coding[:100]}; send the body as it is")
    return found


def parse_json(body: bytes, most_elements: int = MOST_ELEMENTS) -> Any:
    """The JSON value in `body`. Duplicate keys, NaN and infinities are refused.

    Raises MalformedJSONError naming line and column, counted from 1, and TooLargeError.
    """
    _check_elements(body, b"[{,", most_elements)
    return _decoded(body)


def _decoded(body: bytes) -> Any:
    if not body or body.isspace():
        raise MalformedJSONError("line 1, column 1: the body is empty; send a JSON object")
    try:
        value = _DECODER.decode(_text(body))
    except json.JSONDecodeError as error:
        raise MalformedJSONError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except _NotStrictJSON as error:
        raise MalformedJSONError(str(error)) from None
    except RecursionError:
        raise MalformedJSONError(_TOO_DEEP) from None
    _check_depth(value)
    return value


def parse_ndjson(body: bytes, most_elements: int = MOST_ELEMENTS) -> list[Any]:
    """One JSON value for each line of `body`. Raises MalformedJSONError naming the line, and TooLargeError."""
    _check_elements(body, b"[{,\n", most_elements)
    lines = body.split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    values = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise MalformedJSONError(f"line {number} is empty; write one fact on each line")
        try:
            values.append(_decoded(line))
        except MalformedJSONError as error:
            where = error.detail.removeprefix("line 1, ")
            raise MalformedJSONError(f"line {number}, {where}") from None
    return values


def read_model(body: bytes, model: type[Model], unions: Mapping[str, str] = NO_UNIONS) -> Model:
    """The JSON in `body` as `model`; `unions` describes its fields that may have one of several forms.

    Raises MalformedJSONError, and InvalidFieldsError with all that is wrong.
    """
    value = parse_json(body)
    if not isinstance(value, dict):
        required = " and ".join(name for name, field in model.model_fields.items() if field.is_required())
        raise invalid("body", f"is {shown(value)}; it must be an object{f' with {required}' if required else ''}")
    try:
        return model.model_validate(value, strict=True, context=CHECKED_NAMES)
    except ValidationError as error:
        errors = FieldErrors()
        errors.add_all(error, model, unions=unions, value=value)
        raise InvalidFieldsError(errors.first, errors.total) from None


def _check_elements(body: bytes, marks: bytes, most: int) -> None:
    """A byte of JSON can become a hundred of memory, and no other thread runs while a parser makes small lists.

    So what may begin a value is counted first, which takes no time. Texts count too: `most` leaves room for them.
    """
    found = sum(body.count(mark) for mark in marks)
    if found > most:
        raise TooLargeError(
            f"the body has {found} commas, brackets and lines, of which at most {most} are taken; send less at once, "
            "facts in several batches"
        )


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(_DEEPEST):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise MalformedJSONError(_TOO_DEEP)


class _NotStrictJSON(Exception):
    pass


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        column = error.start - body.rfind(b"\n", 0, error.start)
        raise MalformedJSONError(f"line {line}, byte {column} is not UTF-8; send the body as UTF-8") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MOST_KEYS:
        raise _NotStrictJSON(f"an object has {len(pairs)} keys; send what the schema asks for")
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        values = ", ".join(json.dumps(value)[:60] for key, value in pairs if key == twice)
        raise _NotStrictJSON(f"an object has the key {json.dumps(twice)[:60]} more than once ({values}); keep one")
    return found


def _constant(name: str) -> float:
    raise _NotStrictJSON(f"{name} is not a JSON number; send a finite number or null")


def _float(text: str) -> float:
    """Whole numbers as such, however they are written: to JSON 2.0 and 2 are the same number."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _NotStrictJSON(f"the number {text[:40]} is too large; send a finite number")
    return int(value) if value.is_integer() else value


def _int(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise _NotStrictJSON(f"the number {text[:20]}… has {len(text)} digits; send a number of reasonable size")
    return int(text)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)
