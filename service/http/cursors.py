"""Cursors of paged lists: opaque to clients, the key of the last row to us."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

from fastapi import Query

from store.errors import CursorError

Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Entries on a page, at most.")]
_NUMBER = re.compile(r"[0-9]{1,18}")
"""No row has a number that databases would not take."""


def write_cursor(kind: str, number: int) -> str:
    """A cursor of lists of `kind` after entry `number`."""
    return base64.urlsafe_b64encode(f"{kind}:{number}".encode()).decode().rstrip("=")


def read_cursor(kind: str, cursor: str | None) -> int | None:
    """Raises CursorError for a cursor of another list, or none of ours."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        found, _, number = text.partition(":")
        if found == kind and _NUMBER.fullmatch(number):
            return int(number)
    except (binascii.Error, ValueError):
        pass
    raise CursorError(f"{cursor[:60]!r} is not a cursor of this list; take next_cursor of the page before")
