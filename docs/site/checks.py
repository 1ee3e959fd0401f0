"""What is looked for in the built pages: links that lead nowhere, and what a browser would load from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_LOADS: Final = {
    ("script", "src"),
    ("link", "href"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("use", "href"),
}
"""Elements with an address that is loaded with the page; where an <a> leads is the reader's choice."""
_RELATIONS: Final = frozenset({"stylesheet", "icon", "preload", "prefetch", "preconnect", "modulepreload"})


class Links(HTMLParser):
    """Of one page: `ids`, `links` (of <a>) and `loads`."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if found.get("id"):
            self.ids.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        for name, value in found.items():
            if (tag, name) in _LOADS and (tag != "link" or _RELATIONS & set(found.get("rel", "").split())):
                self.loads.append(value)


def faults(folder: Path) -> list[str]:
    """In words, of all pages below `folder`; none where all is well."""
    pages = {path.resolve(): _read(path) for path in sorted(folder.rglob("*.html"))}
    found = [f"{path.relative_to(folder.resolve())}: {fault}" for path in pages for fault in _of_page(path, pages)]
    for style in sorted(folder.rglob("*.css")):
        addresses = re.findall(r"url\(\s*[\"']?([^)\"']+)|@import\s+[\"']([^\"']+)", style.read_text())
        found += [f"{style.name} loads {one or other}" for one, other in addresses if is_elsewhere(one or other)]
    return found


def is_elsewhere(address: str) -> bool:
    """Whether a browser would ask another host for it."""
    return address.startswith("//") or urlsplit(address).scheme not in ("", "data", "mailto")


def _of_page(path: Path, pages: dict[Path, Links]) -> Iterator[str]:
    page = pages[path]
    yield from (f"loads {address} from elsewhere" for address in page.loads if is_elsewhere(address))
    for address in (*page.links, *page.loads):
        if is_elsewhere(address) or address.startswith(("data:", "mailto:")):
            continue
        parts = urlsplit(address)
        there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not there.exists():
            yield f"{address} leads nowhere"
        elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].ids:
            yield f"{address}: no such heading"


def _read(path: Path) -> Links:
    links = Links()
    links.feed(path.read_text())
    return links
