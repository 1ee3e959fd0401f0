"""Facts as callers have them, as what is sent: mappings, `Fact`s, data frames, files of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from json.decoder import WHITESPACE, scanstring  # type: ignore[attr-defined]  # public in the module, not in its stubs
from pathlib import Path
from typing import Any, Final

from emmetd_client.errors import FactsError
from emmetd_client.models.facts import Fact

FactInput = Fact | Mapping[str, Any]

COLUMNS: Final = ("prompt", "subject", "target_new", "target_old", "paraphrases", "neighbors", "aliases")
_REQUIRED: Final = ("prompt", "subject", "target_new")
_MOST_BYTES: Final = 256 * 1024**2
_DECODER: Final = json.JSONDecoder()
_STEPS: Final = str.maketrans({"[": " ", "]": " ", ".": " "})


def written(facts: Iterable[FactInput]) -> list[dict[str, Any]]:
    """What is sent. Raises FactsError for what is no fact at all; the server says the rest."""
    if isinstance(facts, str | bytes | Mapping):
        raise FactsError("facts is one thing; give a list of facts, or read a file with `read_facts`")
    found = []
    for number, one in enumerate(facts):
        if isinstance(one, Fact):
            found.append(one.model_dump(exclude_none=True))
        elif isinstance(one, Mapping):
            found.append(dict(one))
        else:
            raise FactsError(f"facts[{number}] is a {type(one).__name__}; give mappings or `Fact`s")
    return found


def from_dataframe(frame: Any, **columns: str) -> list[dict[str, Any]]:
    """Facts out of a pandas or polars data frame, a row a fact.

    Columns are called as a fact's fields are; `columns` says which are called otherwise: `target_new="answer"`. Empty
    cells are left out. Raises FactsError naming a column that is missing, or the row of a cell that is.
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise FactsError(f"{unknown[0]!r} is no field of a fact; fields are {', '.join(COLUMNS)}")
    if hasattr(frame, "to_dicts"):  # polars
        rows = frame.to_dicts()
    elif hasattr(frame, "to_dict") and hasattr(frame, "columns"):  # pandas
        rows = frame.to_dict("records")
    else:
        raise FactsError(f"a {type(frame).__name__} is no data frame of pandas or polars")
    present = [str(name) for name in frame.columns]
    for name in _REQUIRED:
        if columns.get(name, name) not in present:
            raise FactsError(
                f"the data frame has no column {columns.get(name, name)!r} for {name}; it has {', '.join(present)}; "
                f'name the right one: from_dataframe(frame, {name}="…")'
            )
    return [_row(row, number, columns) for number, row in enumerate(rows)]


def _row(row: Mapping[str, Any], number: int, columns: Mapping[str, str]) -> dict[str, Any]:
    fact = {}
    for name in COLUMNS:
        value: Any = row.get(columns.get(name, name))
        if hasattr(value, "tolist"):  # numpy's arrays, which Parquet's lists become
            value = value.tolist()
        if value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ == "NAType":
            if name in _REQUIRED:
                raise FactsError(f"row {number} has no {columns.get(name, name)}; fill it in, or leave the row out")
            continue
        fact[name] = value
    return fact


@dataclass(frozen=True)
class FactsFile(Sequence[dict[str, Any]]):
    """The facts of a file, in order, and where each stands in it."""

    path: str
    facts: list[dict[str, Any]]
    text: str = field(repr=False)
    offsets: list[int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, index: Any) -> Any:
        return self.facts[index]

    def error(self, loc: str, message: str) -> FactsError | None:
        """What a server says of `facts[17].subject`, at the line and column of the file; None for other fields."""
        steps = loc.translate(_STEPS).split()
        if len(steps) < 2 or steps[0] != "facts" or not steps[1].isdigit() or int(steps[1]) >= len(self.facts):
            return None
        offset = _offset_of(self.text, self.offsets[int(steps[1])], steps[2:])
        line, column = _place(self.text, offset)
        return FactsError(f"{'.'.join(steps[2:]) or 'fact'}: {message}", path=self.path, line=line, column=column)


def read_facts(path: str | Path) -> FactsFile:
    """The facts of a file: a JSON object on each line, or one JSON array of them.

    They are in emmetd's own shape, CounterFact's, zsRE's, or questions with answers. Raises FactsError with line and
    column.
    """
    shown = str(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise FactsError(f"{shown}: {error.strerror or error}; name a file of facts") from None
    if len(content) > _MOST_BYTES:
        raise FactsError(f"{shown} has {len(content)} bytes; send at most {_MOST_BYTES} at once")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise FactsError("is not UTF-8; save the file as UTF-8", path=shown, line=line, column=column) from None
    offsets, facts = _read_array(shown, text) if text.lstrip()[:1] == "[" else _read_lines(shown, text)
    if not facts:
        raise FactsError(f"{shown} has no facts in it; write one JSON object on each line")
    for offset, fact in zip(offsets, facts, strict=True):
        _check(shown, text, offset, fact)
    return FactsFile(shown, facts, text, offsets)


def _read_lines(path: str, text: str) -> tuple[list[int], list[Any]]:
    offsets, facts, start = [], [], 0
    for line in text.split("\n"):
        if line.strip():
            offset = start + len(line) - len(line.lstrip())
            value, end = _decoded(path, text, offset)
            rest = text[end : start + len(line)]
            if rest.strip():
                place = end + len(rest) - len(rest.lstrip())
                raise _wrong(path, text, place, "more than one value; write one JSON object on each line")
            offsets.append(offset)
            facts.append(value)
        start += len(line) + 1
    return offsets, facts


def _read_array(path: str, text: str) -> tuple[list[int], list[Any]]:
    offsets: list[int] = []
    facts: list[Any] = []
    at = _skip(text, text.index("[") + 1)
    while text[at : at + 1] != "]":
        offsets.append(at)
        value, end = _decoded(path, text, at)
        facts.append(value)
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            raise _wrong(path, text, at, "the list of facts goes on without ',' or ends without ']'")
    return offsets, facts


def _decoded(path: str, text: str, offset: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, offset)
    except json.JSONDecodeError as error:
        # raw_decode would read on beyond the end of a line; what is wrong is wrong there all the same.
        raise _wrong(path, text, error.pos, f"is not JSON: {error.msg}") from None
    except RecursionError:
        raise _wrong(path, text, offset, "is nested too deeply") from None


def _check(path: str, text: str, offset: int, fact: Any) -> None:
    """What a mistaken file shows at once. All else is the server's to say."""
    if not isinstance(fact, dict):
        raise _wrong(path, text, offset, f"is a {type(fact).__name__}; a fact is an object with {', '.join(_REQUIRED)}")
    if "requested_rewrite" in fact or ("src" in fact and "alt" in fact) or "question" in fact:
        return
    missing = [name for name in _REQUIRED if name not in fact]
    if missing:
        has = ", ".join(map(str, fact)) or "nothing"
        raise _wrong(path, text, offset, f"has no {' and no '.join(missing)}; it has {has}")
    for name in _REQUIRED:
        if not isinstance(fact[name], str):
            raise _wrong(path, text, _offset_of(text, offset, [name]), f"{name} must be text")


def _wrong(path: str, text: str, offset: int, message: str) -> FactsError:
    line, column = _place(text, offset)
    return FactsError(message, path=path, line=line, column=column)


def _place(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _skip(text: str, at: int) -> int:
    found = WHITESPACE.match(text, at)
    return found.end() if found else at


def _offset_of(text: str, offset: int, steps: Sequence[str]) -> int:
    """Where the value at `steps` within the JSON value at `offset` begins, or the deepest part of it that is there."""
    at = offset
    for step in steps:
        inside = _member(text, at, step) if text[at] == "{" else _entry(text, at, step) if text[at] == "[" else None
        if inside is None:
            return at
        at = inside
    return at


def _member(text: str, at: int, wanted: str) -> int | None:
    at = _skip(text, at + 1)
    while text[at] == '"':
        name, end = scanstring(text, at + 1)
        value = _skip(text, _skip(text, end) + 1)
        if name == wanted:
            return value
        at = _skip(text, _DECODER.raw_decode(text, value)[1])
        at = _skip(text, at + 1) if text[at] == "," else at
    return None


def _entry(text: str, at: int, wanted: str) -> int | None:
    if not wanted.isdigit():
        return None
    at = _skip(text, at + 1)
    for _ in range(int(wanted)):
        if text[at] == "]":
            return None
        at = _skip(text, _DECODER.raw_decode(text, at)[1])
        at = _skip(text, at + 1) if text[at] == "," else at
    return None if text[at] == "]" else at
