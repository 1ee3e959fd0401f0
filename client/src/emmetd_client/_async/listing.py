"""Lists that come in pages: iterate, and the pages are fetched as they are needed."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from emmetd_client._answers import Answer
from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call, given
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


class AsyncListing(Generic[M]):
    """All entries, in the server's order. It can be iterated again, and asks again then."""

    def __init__(self, transport: AsyncTransport, call: Call[Page[M]], draw: Draw | None = None) -> None:
        self._transport = transport
        self._call = call
        self._draw = draw

    async def __aiter__(self) -> AsyncIterator[M]:
        async for page in self.pages():
            for entry in page.entries:
                yield entry

    async def pages(self) -> AsyncIterator[Page[M]]:
        """A page at a time."""
        cursor = None
        while True:
            page = await self.page(cursor)
            yield page
            if page.next_cursor is None or page.next_cursor == cursor:
                return
            cursor = page.next_cursor

    async def page(self, cursor: str | None = None) -> Page[M]:
        """The page at `cursor`; the first one without it."""
        query = given({**self._call.query, "cursor": cursor})
        return await self._transport.send(replace(self._call, query=query))

    async def to_list(self, most: int | None = None) -> list[M]:
        """The first `most` entries, or all."""
        found: list[M] = []
        async for page in self.pages():
            found.extend(page.entries)
            if most is not None and len(found) >= most:
                return found[:most]
        return found

    async def table(self) -> Table:
        """The first page as a table."""
        page = await self.page()
        if self._draw is not None:
            return self._draw(page.entries)
        rows = [[str(value) for value in entry.model_dump(mode="json").values()] for entry in page.entries]
        headings = list(page.entries[0].model_dump()) if page.entries else ["empty"]
        return Table(headings, [row[: len(headings)] for row in rows])

    def _repr_html_(self) -> str | None:
        """In a notebook a list shows its first page. One that has to be awaited cannot."""
        table: Any = self.table()
        if inspect.iscoroutine(table):
            table.close()
            return None
        return str(table.html)
