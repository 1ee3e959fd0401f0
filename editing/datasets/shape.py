"""What a data set's reader is: how its records are recognised, and what facts they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from editing.datasets.errors import RecordError

Record = Mapping[str, Any]
FactFields = dict[str, Any]
"""The fields of one `api_schemas.facts.Fact`, not validated yet."""


@dataclass(frozen=True)
class Shape:
    """`facts` makes a record's facts by one of `conventions` (name → which target is taken); the first is the default.

    `facts` raises RecordError. `source` is where the data set is described.
    """

    name: str
    title: str
    source: str
    recognises: Callable[[Record], bool]
    facts: Callable[[Record, str], Sequence[FactFields]]
    conventions: Mapping[str, str] = field(default_factory=dict)

    @property
    def default_convention(self) -> str:
        return next(iter(self.conventions))


def shown(value: Any) -> str:
    """`value` for a message, shortened."""
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "…"


def text_at(record: Record, *names: str) -> str:
    """The text of the first of `names` that the record has. Raises RecordError."""
    for name in names:
        if name in record:
            value = record[name]
            if isinstance(value, str) and value.strip():
                return value
            raise RecordError(name, f"is {shown(value)}; it must be a text that is not empty")
    raise RecordError(names[0], "is missing; add it")


def optional_text(record: Record, *names: str) -> str | None:
    """The same; None where it is missing, null or empty."""
    for name in names:
        value = record.get(name)
        if value is None or value != value or value == "":  # NaN is how a table's empty cell may be written
            continue
        if not isinstance(value, str):
            raise RecordError(name, f"is {shown(value)}; it must be a text")
        if value.strip():
            return value
    return None


def object_at(record: Record, name: str) -> Record:
    """An object within the record. Raises RecordError."""
    value = record.get(name)
    if not isinstance(value, Mapping):
        raise RecordError(name, f"is {shown(value)}; it must be an object")
    return value


def objects_at(record: Record, name: str) -> list[Record]:
    """A list of objects within the record, none where it is missing. Raises RecordError."""
    value = record.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
        raise RecordError(name, f"is {shown(value)}; it must be a list of objects")
    return value


def texts_of(field_name: str, value: Any) -> list[str]:
    """A text, or a list of texts or of such lists, flat; data sets write answers in all these ways."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, list):
        return [text for entry in value for text in texts_of(field_name, entry)]
    raise RecordError(field_name, f"is {shown(value)}; it must be a text or a list of texts")


def without_repeats(texts: Sequence[str], but: Sequence[str] = ()) -> list[str]:
    """`texts` in their order, each once whatever its case, without those of `but`."""
    seen = {text.strip().casefold() for text in but}
    kept = []
    for text in texts:
        if text.strip().casefold() not in seen:
            seen.add(text.strip().casefold())
            kept.append(text)
    return kept


def old_target(old: str | None, new: str) -> str | None:
    """`old` where it is one: not the new target, nor the mark that some data sets put for a missing one."""
    if old is None or not old.strip() or old.strip() == "<|endoftext|>" or old.strip() == new.strip():
        return None
    return old
