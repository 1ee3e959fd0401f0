"""What the documents name is there: links lead to files and headings, paths of the code exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = r"(?:api_schemas|benchmarks|cli|configuration|docker|docs|editing|kubernetes|service|store|tests|workers)"
TODAY = [page for page in PAGES if page.name != "0016-wings.md"]
"""Pages that name no file as it was called before."""
pages = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def named_paths(page: Path) -> Iterator[str]:
    """Paths in backticks. A bare `file.py` lies in the folder of the path before it on its line, a folder on a line
    that begins with an ellipsis in the folder of the lines before it."""
    above = ""
    for line in page.read_text().splitlines():
        folder = ""
        for name in re.findall(r"`([^`\s]+)`", line):
            if re.fullmatch(rf"{PACKAGES}/[\w./-]*", name):
                yield name
                folder = name.rpartition("/")[0]
            elif folder and re.fullmatch(r"\w+\.py", name):
                yield f"{folder}/{name}"
            elif line.startswith("| … ") and re.fullmatch(r"\w+/", name):
                yield f"{above}/{name}"
        if folder and not line.startswith("| … "):
            above = folder.partition("/")[0]


@pages
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, heading = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not heading or heading in headings(there), target


@pytest.mark.parametrize("page", TODAY, ids=[str(page.relative_to(ROOT)) for page in TODAY])
def test_paths_of_the_code_exist(page: Path) -> None:
    named = [path for path in named_paths(page) if not path.startswith("docker/secrets/")]  # made when it is set up
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_paths_are_found_in_the_documents() -> None:
    named = set(named_paths(ROOT / "docs" / "architecture.md"))
    assert {
        "editing/solve/",
        "workers/tasks/plan.py",
        "service/edits/submission.py",
        "editing/solve/closed_form.py",
    } <= named


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text()):
            there = (page.parent / target).resolve()
            if there.is_dir():
                waiting += sorted(there.glob("*.md"))
            elif there.suffix == ".md" and there.exists():
                waiting.append(there)
    assert set(PAGES) - reached == set()


def test_the_licence_is_that_of_the_package() -> None:
    assert "Apache License\n                           Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    assert 'license = "Apache-2.0"\nlicense-files = ["LICENSE"]\n' in project
    assert "(LICENSE)" in (ROOT / "README.md").read_text()
