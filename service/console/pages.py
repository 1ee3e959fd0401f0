"""The built pages, read once: what stands in them, of which type, and packed for who takes it so."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

INDEX: Final = "index.html"
_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Page:
    """`etag` is of the content, so that a page that did not change is not sent again."""

    content: bytes
    packed: bytes
    media_type: str
    etag: str


@cache
def pages() -> Mapping[str, Page]:
    """Name → page: `index.html`, and the files that it loads by their hashed names."""
    return {entry.name: _page(entry) for entry in _files(files("service.console") / "pages")}


def _files(folder: Traversable) -> Iterator[Traversable]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry)
        elif entry.name.rpartition(".")[2] in _TYPES:
            yield entry


def _page(entry: Traversable) -> Page:
    content = entry.read_bytes()
    kind = _TYPES[entry.name.rpartition(".")[2]]
    return Page(content, gzip.compress(content, mtime=0), kind, f'"{sha256(content).hexdigest()[:32]}"')
