"""The site is built with nothing to warn of, from what lies here, and asks a reader's browser for nothing elsewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs.site.api_pages import api_pages
from docs.site.build import gather
from docs.site.checks import faults, is_elsewhere
from docs.site.navigation import NAVIGATION, menu
from docs.site.schemas import fields, type_of
from tests.documentation.conftest import ROOT
from tests.support.programs import missing

DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text())
WITHOUT_NETWORK = """
import socket, sys
def refuse(*address): raise OSError(f"the build wanted to reach {address}")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from pathlib import Path
from docs.site.build import build
sys.exit(build(Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages. Building fails for any warning, link that leads nowhere, or address elsewhere."""
    if any(importlib.util.find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")):
        missing("Sphinx", "pip install '.[documentation]'")
    output = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-c", WITHOUT_NETWORK, str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-2000:] + done.stderr[-4000:]
    return output / "html"


def test_every_page_is_built_and_can_be_searched(site: Path) -> None:
    for names in NAVIGATION.values():
        for name in names:
            assert (site / f"{name}.html").exists()
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists()
    assert "Correct a fact in five minutes" in (site / "searchindex.js").read_text()


def test_the_front_page_is_the_readme_with_its_pictures(site: Path) -> None:
    page = (site / "index.html").read_text()

    assert "emmetd corrects facts inside a running language model" in page
    for name in re.findall(r'<img[^>]+src="(_images/[^"]+)"', page):
        assert (site / name).exists()
    assert "_images/overview.svg" in page


def test_pages_of_the_api_have_every_operation_and_every_body(site: Path) -> None:
    pages = api_pages(DOCUMENT)

    told = "".join(pages.values())
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            assert told.count(f"{method.upper()} {path}\n") == len(operation["tags"])
    bodies = (site / "api" / "bodies.html").read_text()
    for name in DOCUMENT["components"]["schemas"]:
        assert f'id="{name.lower()}"' in bodies


def test_types_are_told_in_words() -> None:
    assert type_of({"anyOf": [{"type": "string"}, {"type": "null"}]}) == "string or null"
    assert type_of({"$ref": "#/components/schemas/Fact"}, "bodies.md") == "[Fact](bodies.md#fact)"
    assert type_of({"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 3}) == (
        "array of integer (≥ 0) (at most 3 entries)"
    )
    table = fields(
        {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "description": "x | y"}}}
    )
    assert table.splitlines()[-1] == "| `a` | string | Required. x \\| y |"


def test_links_from_outside_of_docs_lead_to_pages_of_the_site(tmp_path: Path) -> None:
    gather(tmp_path / "source")

    front = (tmp_path / "source" / "index.md").read_text()
    assert "](five-minutes.md)" in front
    assert "](client.md)" in front
    assert "](decisions/index.md)" in front
    assert "](docs/" not in front
    assert "](index.md#a-first-edit)" in (tmp_path / "source" / "first-steps.md").read_text()
    assert "](client.md)" in (tmp_path / "source" / "five-minutes.md").read_text()
    assert "](notebooks/a-line-over-time.md)" in (tmp_path / "source" / "year-of-corrections.md").read_text()
    assert "](../configuration.md)" in (tmp_path / "source" / "operations" / "security.md").read_text()


def test_a_page_that_nobody_has_placed_is_in_the_menu_all_the_same() -> None:
    tops = [name for names in NAVIGATION.values() for name in names if "/" not in name]

    assert ":caption: More" not in menu(["index", *tops])
    assert ":caption: More\n:hidden:\n\nnew\n" in menu(["index", "new", *tops])


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="none.html">x</a>', "page.html: none.html leads nowhere"),
        ('<a href="#none">x</a>', "page.html: #none: no such heading"),
        (
            '<script src="https://cdn.example/x.js"></script>',
            "page.html: loads https://cdn.example/x.js from elsewhere",
        ),
        (
            '<link rel="stylesheet" href="//fonts.example/x.css">',
            "page.html: loads //fonts.example/x.css from elsewhere",
        ),
        ('<img src="http://example.org/x.png">', "page.html: loads http://example.org/x.png from elsewhere"),
    ],
)
def test_what_is_wrong_with_a_page_is_found(tmp_path: Path, body: str, fault: str) -> None:
    (tmp_path / "page.html").write_text(f'<h1 id="here">x</h1><a href="#here">y</a>{body}')
    assert faults(tmp_path) == [fault]


def test_what_is_right_or_loaded_by_a_style_sheet_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<a href="https://example.org/">x</a><img src="data:image/png;base64,AA">')
    (tmp_path / "site.css").write_text("a { background: url('x.svg') }")
    assert faults(tmp_path) == []
    (tmp_path / "site.css").write_text("@import 'https://example.org/x.css';")
    assert faults(tmp_path) == ["site.css loads https://example.org/x.css"]
    assert is_elsewhere("//example.org")
    assert not is_elsewhere("data:,")
