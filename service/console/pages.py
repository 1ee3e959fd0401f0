"""The console's built pages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from service.http.pages import Page, read_pages

INDEX: Final = "index.html"


@cache
def pages() -> Mapping[str, Page]:
    """Name → page: `index.html`, and the files that it loads by their hashed names."""
    return {path.rpartition("/")[2]: page for path, page in read_pages(files("service.console") / "pages").items()}
