"""Files that are served as they lie in a package: read once, and packed for who takes them so."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import Request
from starlette.responses import Response

FOR_EVER: Final = "public, max-age=31536000, immutable"
"""Of a file whose name changes with its content."""
ASK_AGAIN: Final = "no-cache"
_TEXT: Final = "text/plain; charset=utf-8"
_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": _TEXT,
    "LICENSE": _TEXT,
    "NOTICE": _TEXT,
}
"""By a name's ending, or the whole name where it has none. What is not here is not served."""


@dataclass(frozen=True)
class Page:
    """`etag` is of the content, so that a page that did not change is not sent again."""

    content: bytes
    packed: bytes
    media_type: str
    etag: str


def read_pages(folder: Traversable) -> dict[str, Page]:
    """Path below `folder`, with "/" between its parts → page."""
    return dict(_pages(folder, ""))


def answer(request: Request, page: Page, keep: str) -> Response:
    """`page`, or 304 to who has it. `keep` is its Cache-Control."""
    headers = {"Cache-Control": keep, "ETag": page.etag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == page.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(page.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=page.media_type)
    return Response(page.content, headers=headers, media_type=page.media_type)


def _pages(folder: Traversable, above: str) -> Iterator[tuple[str, Page]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _pages(entry, f"{above}{entry.name}/")
        elif (kind := _TYPES.get(entry.name.rpartition(".")[2])) is not None:
            yield above + entry.name, _page(entry.read_bytes(), kind)


def _page(content: bytes, kind: str) -> Page:
    return Page(content, gzip.compress(content, mtime=0), kind, f'"{sha256(content).hexdigest()[:32]}"')
