"""What is wrong with which field, in words: pydantic's errors with the value, the remedy and our way to write paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from api_schemas.problems import FieldProblem
from service.errors import MOST_ERRORS_SHOWN, InvalidFieldsError

_LONGEST_VALUE: Final = 60
_EXPECTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}

NO_UNIONS: Final[Mapping[str, str]] = MappingProxyType({})


class FieldErrors:
    """Collects what is wrong with a request: all of it is counted, the first of it is kept."""

    def __init__(self) -> None:
        self.total = 0
        self.first: list[FieldProblem] = []
        self._kinds: set[type[InvalidFieldsError]] = set()

    def add(self, loc: str, msg: str, kind: type[InvalidFieldsError] = InvalidFieldsError) -> None:
        """`kind` is what is raised where nothing of another kind is wrong."""
        self.total += 1
        self._kinds.add(kind)
        if not self.is_full:
            self.first.append(FieldProblem(loc=loc or "body", msg=msg))  # what is wrong with the whole has no path

    @property
    def is_full(self) -> bool:
        """Whether what comes now is only counted."""
        return len(self.first) >= MOST_ERRORS_SHOWN

    def add_all(
        self,
        error: ValidationError,
        model: type[BaseModel],
        prefix: Sequence[str | int] = (),
        unions: Mapping[str, str] = NO_UNIONS,
        value: Any = None,
    ) -> None:
        """Every error of validating `value` as `model`, whose place in the request is `prefix`.

        `unions` says of fields that may have one of several forms ("messages.content") what they must be: pydantic
        tells of each form that such a field could have had.
        """
        seen = set()
        for detail in error.errors(include_url=False):
            path = _union_at(detail, unions)
            if not path:
                self.add_one(detail, model, prefix)
            elif path not in seen:
                seen.add(path)
                self.add(written([*prefix, *path]), f"is {shown(_at(value, path))}; it {unions[_names(path)]}")

    def add_one(self, detail: ErrorDetails, model: type[BaseModel], prefix: Sequence[str | int] = ()) -> None:
        """One error out of a ValidationError."""
        self.add(*_described(detail, model, prefix))

    def raise_if_any(self) -> None:
        """Raises InvalidFieldsError, or the kind of it that all errors are of."""
        if self.total:
            kind = next(iter(self._kinds)) if len(self._kinds) == 1 else InvalidFieldsError
            raise kind(self.first, self.total)


def invalid(loc: str, msg: str) -> InvalidFieldsError:
    """One field is wrong."""
    return InvalidFieldsError([FieldProblem(loc=loc, msg=msg)])


def written(path: Iterable[str | int]) -> str:
    """("facts", 17, "subject") → "facts[17].subject"."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:  # a client's own keys may be of any length
            text += f"{'.' if text else ''}{_shortened(part)}"
    return text


def shown(value: Any) -> str:
    """`value` as JSON, shortened."""
    try:
        text = orjson.dumps(value, default=repr).decode()
    except (TypeError, ValueError):
        text = ascii(value)
    return _shortened(text)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def request_problems(details: Iterable[Mapping[str, Any]]) -> list[FieldProblem]:
    """What FastAPI found wrong with path, query and header parameters."""
    return [
        FieldProblem(loc=written(detail["loc"]), msg=_message(detail, known=""))  # type: ignore[arg-type]
        for detail in details
    ]


def _union_at(detail: ErrorDetails, unions: Mapping[str, str]) -> tuple[str | int, ...]:
    """The path of the union that an error lies in; empty where it lies in none."""
    path = detail["loc"]
    if detail["type"] == "missing":  # as a whole, which is not a matter of its form
        path = path[:-1]
    return next((path[:end] for end in range(1, len(path) + 1) if _names(path[:end]) in unions), ())


def _names(path: Iterable[str | int]) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def _at(value: Any, path: Iterable[str | int]) -> Any:
    for part in path:
        value = value[part]
    return value


def _described(detail: ErrorDetails, model: type[BaseModel], prefix: Sequence[str | int]) -> tuple[str, str]:
    path = [part for part in detail["loc"] if part != "[key]"]
    known = ""
    if detail["type"] == "extra_forbidden":
        known = ", ".join(_fields_at(model, path[:-1]))
    if detail["type"] == "fact":
        path.append(detail["ctx"]["field"])
    return written([*prefix, *path]), _message(detail, known)


def _message(detail: ErrorDetails, known: str) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    value = shown(detail.get("input"))
    if kind in _EXPECTED:
        return f"is {value}; it must be {_EXPECTED[kind]}"
    match kind:
        case "missing":
            return "is missing; add it"
        case "extra_forbidden":
            return f"is not known here; known: {known}"
        case "fact":
            return str(context["message"])
        case "value_error":
            return detail["msg"].removeprefix("Value error, ")
        case "literal_error":
            return f"{value} is not known; known: {context['expected']}"
        case "string_too_long":
            return f"has {len(detail['input'])} characters, at most {context['max_length']} are taken; shorten it"
        case "string_too_short":
            return f"is {value}; it must have at least {context['min_length']} characters"
        case "too_long":
            return f"has {len(detail['input'])} entries, at most {context['max_length']} are taken; leave some out"
        case "too_short":
            return f"has {len(detail['input'])} entries; give at least {context['min_length']}"
        case "string_unicode":
            return "holds an unpaired surrogate; send valid Unicode text"
        case "string_pattern_mismatch":
            return f"{value} does not have the form {context['pattern']}"
        case "greater_than_equal":
            return f"is {value}; it must be at least {_number(context['ge'])}"
        case "greater_than":
            return f"is {value}; it must be greater than {_number(context['gt'])}"
        case "less_than_equal":
            return f"is {value}; it must be at most {_number(context['le'])}"
        case "less_than":
            return f"is {value}; it must be less than {_number(context['lt'])}"
    return f"is {value}: {detail['msg']}"


def _number(limit: float) -> str:
    return f"{limit:.15g}"


def _fields_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The field names of the model that stands at `path` inside `model`."""
    current: Any = model
    for part in path:
        current = _inner(current)
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[str(part)].annotation
        elif get_origin(current) is list:
            current = get_args(current)[0]
    current = _inner(current)
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


def _inner(annotation: Any) -> Any:
    """`annotation` without Annotated and without None."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        annotation = parts[0]
    return annotation
