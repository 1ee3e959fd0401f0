# Made by client/unasync.py from listing.py of _async: change that one, and run it.
"""Lists that come in pages: iterate, and the pages are fetched as they are needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from emmetd_client._answers import Answer
from emmetd_client._calls import Call, given
from emmetd_client._sync.transport import Transport
from emmetd_client._tables import Table

M = TypeVar("M", bound=BaseModel)

Draw = Callable[[list[Any]], Table]


class Page(Generic[M]):
    """Entries of one page, and the cursor of the next one, if there is one."""

    def __init__(self, entries: list[M], next_cursor: str | None) -> None:
        self.entries = entries
        self.next_cursor = next_cursor


def page_reader(model: type[M], key: str = "data") -> Callable[[Answer], Page[M]]:
    def read(answer: Answer) -> Page[M]:
        body = answer.json()
        if not isinstance(body, Mapping) or not isinstance(body.get(key), list):
            raise ValueError(f"the answer has no list {key!r}")
        return Page([model.model_validate(one) for one in body[key]], body.get("next_cursor"))

    return read


class Listing(Generic[M]):
    """All entries, in the server's order. It can be iterated again, and asks again then."""

    def __init__(self, transport: Transport, call: Call[Page[M]], draw: Draw | None = None) -> None:
        self._transport = transport
        self._call = call
        self._draw = draw

    def __iter__(self) -> Iterator[M]:
        for page in self.pages():
            for entry in page.entries:
                yield entry

    def pages(self) -> Iterator[Page[M]]:
        """A page at a time."""
        cursor = None
        while True:
            page = self.page(cursor)
            yield page
            if page.next_cursor is None or page.next_cursor == cursor:
                return
            cursor = page.next_cursor

    def page(self, cursor: str | None = None) -> Page[M]:
        """The page at `cursor`; the first one without it."""
        query = given({**self._call.query, "cursor": cursor})
        return self._transport.send(replace(self._call, query=query))

    def to_list(self, most: int | None = None) -> list[M]:
        """The first `most` entries, or all."""
        found: list[M] = []
        for page in self.pages():
            found.extend(page.entries)
            if most is not None and len(found) >= most:
                return found[:most]
        return found

    def table(self) -> Table:
        """The first page as a table."""
        page = self.page()
        if self._draw is not None:
            return self._draw(page.entries)
        rows = [[str(value) for value in entry.model_dump(mode="json").values()] for entry in page.entries]
        headings = list(page.entries[0].model_dump()) if page.entries else ["empty"]
        return Table(headings, [row[: len(headings)] for row in rows])

    def _repr_html_(self) -> str | None:
        """In a notebook a list shows its first page."""
        table: Any = self.table()
        if inspect.iscoroutine(table):
            table.close()
            return None
        return str(table.html)
