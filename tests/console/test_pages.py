"""The built pages as the API serves them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx
import pytest

from service.console.pages import pages
from tests.service.conftest import Api

BUDGET_BYTES = 250_000
PAGES = Path(__file__).parents[2] / "service" / "console" / "pages"


def loaded(page: str) -> list[str]:
    return re.findall(r'(?:src|href)="\./([^"]+)"', page)


def test_the_page_and_all_that_it_loads_are_served_with_their_types(api: Api) -> None:
    page = api.http.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    kinds = {}
    for path in loaded(page.text):
        answer = api.http.get(f"/{path}")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        kinds[path.rpartition(".")[2]] = answer.headers["content-type"]
    assert kinds == {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}


def test_nothing_in_the_page_needs_a_looser_policy(api: Api) -> None:
    page = api.http.get("/")
    policy = page.headers["content-security-policy"]

    assert "unsafe" not in policy
    assert "http" not in policy
    assert "script-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style| style=| on[a-z]+=", page.text)
    assert not [
        path for path in re.findall(r'(?:src|href)="([^"]+)"', page.text) if not path.startswith(("./", "data:"))
    ]


def test_a_browser_that_has_the_page_is_told_so(api: Api) -> None:
    etag = api.http.get("/").headers["etag"]

    again = api.http.get("/", headers={"If-None-Match": etag})

    assert (again.status_code, again.content) == (304, b"")
    assert "content-security-policy" in again.headers


def test_pages_travel_packed_to_those_who_take_them_so(api: Api) -> None:
    (script,) = (path for path in loaded(api.http.get("/").text) if path.endswith(".js"))
    name = script.rpartition("/")[2]

    with httpx.stream("GET", f"{api.url}/{script}", headers={"Accept-Encoding": "gzip"}) as packed:
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(b"".join(packed.iter_raw())) == pages()[name].content
    plain = api.http.get(f"/{script}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == pages()[name].content


@pytest.mark.parametrize("path", ["/console/none.js", "/console/index.html", "/console/..%2findex.html", "/console/"])
def test_what_is_no_page_is_a_problem_that_nobody_keeps(api: Api, path: str) -> None:
    answer = api.http.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "path_not_found")
    assert answer.headers["cache-control"] == "no-store"


def test_all_pages_together_are_within_their_budget() -> None:
    assert sum(len(page.packed) for page in pages().values()) < BUDGET_BYTES
    assert len(pages()) == sum(1 for path in PAGES.rglob("*") if path.is_file())


def test_the_pages_are_not_part_of_the_document(api: Api) -> None:
    assert not [path for path in api.http.get("/openapi.json").json()["paths"] if path == "/" or "console" in path]
