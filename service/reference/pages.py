"""The two pages with their own scripts, and what they load from `vendored/`, by the path below /reference/."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from service.http.pages import Page, read_pages


@cache
def own_pages() -> Mapping[str, Page]:
    """`docs.html`, `redoc.html` and the scripts and styles that start them. They change with releases of emmetd."""
    return read_pages(files("service.reference") / "pages")


@cache
def vendored() -> Mapping[str, Page]:
    """Some 3 MB, packed at the first call: 0.2 s. Folders carry the release, so that what lies there never changes."""
    return read_pages(files("service.reference") / "vendored")
