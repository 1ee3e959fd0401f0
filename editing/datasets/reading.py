"""Reads a data set: file or hub reference → records → facts, telling what is wrong and which target was taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from api_schemas.facts import Fact
from editing.datasets import SHAPES
from editing.datasets.errors import DataSetError, RecordError, WrongRecord
from editing.datasets.hub import PREFIX, fetch
from editing.datasets.records import records_of
from editing.datasets.shape import Shape, shown


@dataclass(frozen=True)
class DataSet:
    """`places[n]` is where `facts[n]` stood in the file. `conventions` says of each shape found which target it took.

    `wrong` are the records that were left out; empty unless they were to be.
    """

    source: str
    facts: list[Fact]
    places: list[str]
    shapes: dict[str, int]
    conventions: dict[str, str]
    wrong: list[WrongRecord]


def read_data_set(
    source: str | Path, *, shape: str | None = None, convention: str | None = None, leave_out_wrong: bool = False
) -> DataSet:
    """The facts of a file, or of an hf:// reference.

    Each record is read by the first of `SHAPES` that recognises it, or by `shape` alone. `convention` is one of that
    shape's. Raises DataSetError with all wrong records, or, with `leave_out_wrong`, only where no fact is left.
    """
    name = str(source)
    path = fetch(name) if name.startswith(PREFIX) else Path(source)
    only = _known(name, shape)
    if convention is not None and not any(convention in one.conventions for one in only):
        known = ", ".join(sorted({convention for one in only for convention in one.conventions}))
        raise DataSetError(name, f"convention {convention!r} is not known here; known: {known}")
    facts: list[Fact] = []
    places: list[str] = []
    wrong: list[WrongRecord] = []
    counted: Counter[str] = Counter()
    conventions: dict[str, str] = {}
    for place, record in records_of(path, name):
        try:
            if isinstance(record, WrongRecord):
                raise RecordError(record.field, record.message)
            found = _shape_of(record, only)
            taken = (
                convention if convention is not None and convention in found.conventions else found.default_convention
            )
            made = list(_validated(found.facts(record, taken)))
        except RecordError as error:
            wrong.append(WrongRecord(place, error.field, error.message))
            continue
        counted[found.name] += 1
        conventions[found.name] = found.conventions[taken]
        facts += made
        places += [place] * len(made)
    if wrong and not (leave_out_wrong and facts):
        raise DataSetError(name, "", wrong)
    if not facts:
        raise DataSetError(name, "holds no facts; give one JSON object to a line")
    return DataSet(name, facts, places, dict(counted), conventions, wrong)


def _known(source: str, shape: str | None) -> list[Shape]:
    if shape is None:
        return list(SHAPES.values())
    if shape not in SHAPES:
        raise DataSetError(source, f"shape {shape!r} is not known; known: {', '.join(SHAPES)}")
    return [SHAPES[shape]]


def _shape_of(record: Any, only: list[Shape]) -> Shape:
    if not isinstance(record, Mapping):
        raise RecordError("", f"is {shown(record)}; a record is an object")
    for shape in only:
        if shape.recognises(record):
            return shape
    if len(only) == 1:
        raise RecordError("", f"is no record of {only[0].title}: its fields are {shown(sorted(record))}")
    if {"prompt", "subject"} & record.keys():
        return SHAPES["plain"]  # nearly ours: what is missing is told by field
    titles = ", ".join(shape.title for shape in only)
    raise RecordError("", f"has the fields {shown(sorted(record))}, which none of these has: {titles}")


def _validated(facts: Any) -> Iterator[Fact]:
    for fields in facts:
        try:
            yield Fact.model_validate(fields)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            within = [*problem["loc"], *([field] if (field := problem.get("ctx", {}).get("field")) else [])]
            raise RecordError(".".join(map(str, within)), f"{problem['msg']}{_value(problem)}") from None


def _value(problem: Mapping[str, Any]) -> str:
    value = problem.get("input")
    return f" (it is {shown(value)})" if isinstance(value, str | int | float | bool | list | None) else ""
