"""Our own shape: the fields of a fact of the API. In a table (CSV) a list is a JSON list, or one text."""

from __future__ import annotations

import json
from typing import Any, Final

from api_schemas.facts import Fact
from editing.datasets.errors import RecordError
from editing.datasets.shape import FactFields, Record, Shape, shown

LISTS: Final = ("paraphrases", "neighbors", "aliases", "portability", "locality", "generation_prompts")
_FIELDS: Final = frozenset(Fact.model_fields)


def _facts(record: Record, convention: str) -> list[FactFields]:
    return [dict(record)]


def fields_of_row(row: Record) -> FactFields:
    """A table's row as the fields of a fact: empty cells are left out. Raises RecordError."""
    fields: FactFields = {}
    for name, cell in row.items():
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            continue
        fields[name] = _list_in(name, cell) if name in LISTS else cell
    return fields


def _list_in(name: str, cell: str) -> list[Any]:
    if not cell.lstrip().startswith("["):
        return [cell]
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise RecordError(name, f"is {shown(cell)}, which begins as a JSON list and is none ({error})") from None
    assert isinstance(found, list)
    return found


PLAIN = Shape(
    name="plain",
    title="JSONL and CSV",
    source="docs/first-steps.md",
    recognises=lambda record: (
        {"prompt", "subject", "target_new"} <= record.keys() <= _FIELDS
        and isinstance(record.get("portability", []), list)
        and isinstance(record.get("locality", []), list)
    ),
    facts=_facts,
    conventions={"target_new": "the new target is target_new, the old one target_old"},
)
