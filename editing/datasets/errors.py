"""What is wrong with a data set.

DataSetError      a file that is missing, cannot be read, or holds wrong records; tells each with its place
RecordError       one record, while it is read: becomes a WrongRecord with its place
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST_TOLD: Final = 20


@dataclass(frozen=True)
class WrongRecord:
    """`place` is a line or a record's number, `field` the record's own; `message` has the value and the remedy."""

    place: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {f'{self.field}: ' if self.field else ''}{self.message}"


class DataSetError(Exception):
    """A data set that cannot be read. The message names the file, the places of wrong records, and remedies."""

    def __init__(self, source: str, problem: str, wrong: Sequence[WrongRecord] = ()) -> None:
        self.source = source
        self.wrong = tuple(wrong)
        more = f"\n… and {len(wrong) - MOST_TOLD} more" if len(wrong) > MOST_TOLD else ""
        told = "\n".join(map(str, wrong[:MOST_TOLD]))
        joint = ", " if len(wrong) == 1 else ": " if not wrong else ":\n"
        super().__init__(f"facts file {source!r}{joint}{problem if not wrong else told}{more}")


class RecordError(ValueError):
    """A record that its data set's reader cannot make facts of."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
