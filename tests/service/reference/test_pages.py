"""`/docs` and `/redoc`, with everything that they load, come from this server."""

from __future__ import annotations

import gzip
import re
import subprocess
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import Api
from tests.support.prefixed import prefixed
from tests.support.programs import program

FOLDER = Path(__file__).parents[3] / "service" / "reference"
VENDORED = FOLDER / "vendored"
PAGES = ("/docs", "/redoc")
pages = pytest.mark.parametrize("path", PAGES)


def loaded(page: str) -> list[str]:
    """Addresses of scripts and style sheets."""
    return re.findall(r'<(?:script src|link rel="stylesheet" href)="([^"]+)"', page)


@pages
def test_all_that_a_page_loads_is_served_from_here(api: Api, path: str) -> None:
    page = api.http.get(path)

    assert (page.headers["content-type"], page.headers["cache-control"]) == ("text/html; charset=utf-8", "no-cache")
    addresses = loaded(page.text)
    assert len(addresses) >= 4
    for address in addresses:
        assert address.startswith("./reference/")
        answer = api.http.get(address.removeprefix("."))
        assert answer.status_code == 200
        kind = "text/javascript" if address.endswith(".js") else "text/css"
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        kept = "public, max-age=31536000, immutable" if re.search(r"-\d+\.\d+\.\d+/", address) else "no-cache"
        assert answer.headers["cache-control"] == kept


@pages
def test_no_other_origin_and_nothing_inline(api: Api, path: str) -> None:
    page = api.http.get(path)
    policy = page.headers["content-security-policy"]

    assert policy.startswith("default-src 'none'; frame-ancestors 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "connect-src 'self'" in policy
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style| style=| on[a-z]+=", page.text)
    assert not re.findall(r"(?:https?:)?//", page.text.replace("<!doctype html>", ""))
    own = "".join(file.read_text() for file in (FOLDER / "pages").iterdir())
    assert not re.findall(r"https?://|@import|url\(", own)


def test_what_was_taken_over_has_its_licence_and_is_what_it_was() -> None:
    told = dict(line.split("  ")[::-1] for line in (VENDORED / "SHA256SUMS").read_text().splitlines())
    found = {str(path.relative_to(VENDORED)): sha256(path.read_bytes()).hexdigest() for path in VENDORED.glob("*/*")}

    assert found == told, "service/reference/vendored/renew.sh makes these files; none is changed by hand"
    for folder, licence in (("swagger-ui-*", "Apache License"), ("redoc-*", "MIT License")):
        (place,) = VENDORED.glob(folder)
        assert licence in (place / "LICENSE").read_text()
        assert list(place.glob("*.js.LICENSE.txt"))
        name, _, release = place.name.rpartition("-")
        assert f"{name.upper().replace('-', '_')}={release}" in (VENDORED / "renew.sh").read_text()
        assert f"./reference/{place.name}/" in "".join(page.read_text() for page in FOLDER.glob("pages/*.html"))


def test_nothing_of_it_loads_from_another_host() -> None:
    for path in VENDORED.glob("*/*.css"):
        assert not re.findall(r"@import|url\((?![\"']?data:)", path.read_text())
    (redoc,) = VENDORED.glob("redoc-*/*.js")
    assert "cdn." not in redoc.read_text()


def test_licences_are_served_and_files_travel_packed(api: Api) -> None:
    assert "Apache License" in api.http.get("/reference/swagger-ui-5.35.0/LICENSE").text
    script = "/reference/redoc-2.5.4/redoc.standalone.js"
    with httpx.stream("GET", api.url + script, headers={"Accept-Encoding": "gzip"}) as packed:
        assert (
            gzip.decompress(b"".join(packed.iter_raw())) == (VENDORED / script.removeprefix("/reference/")).read_bytes()
        )


@pytest.mark.parametrize("path", ["none.js", "docs.html", "renew.sh", "SHA256SUMS", "..%2fpages.py", "", "redoc-2.5.4"])
def test_what_is_no_page_is_a_problem_that_nobody_keeps(api: Api, path: str) -> None:
    answer = api.http.get(f"/reference/{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, "path_not_found")
    assert answer.headers["cache-control"] == "no-store"


def test_they_are_not_part_of_the_document(api: Api) -> None:
    paths = api.http.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path in PAGES or path.startswith("/reference")]


@pytest.mark.parametrize(
    ("path", "shows"), [("/docs", "Submit a batch of fact edits"), ("/redoc", "Submit a batch of")]
)
def test_a_browser_draws_the_document_below_a_prefix(api: Api, path: str, shows: str, tmp_path: Path) -> None:
    with prefixed(api.url, "/models/one") as proxy:
        done = subprocess.run(
            [
                str(program("chromium")),
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
                *(f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--virtual-time-budget=20000"),
                *("--dump-dom", proxy.url + path),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )

    assert shows in done.stdout
    assert proxy.url in done.stdout  # where requests are sent to
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert [asked for asked in proxy.asked if not asked.startswith("/models/one/")] == []
    assert "/models/one/openapi.json" in proxy.asked
