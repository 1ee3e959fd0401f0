"""Builds the site: python -m docs.site.build [--output FOLDER]. Warnings are errors, and nothing is asked of a network.

First the pages are gathered in a folder: those of docs/ as they are, the README as the front page, the client's page,
the changelog, and the pages that are made here. Then Sphinx builds them, and the result is looked through for links
that lead nowhere and for anything that a browser would load from elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Final

from docs.site.api_pages import api_pages
from docs.site.checks import faults
from docs.site.navigation import menu, toctree
from docs.site.notebook_pages import notebook_page

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
_FROM_ROOT: Final = {
    "README.md": "index.md",
    "client/README.md": "client.md",
    "plugins/vllm/README.md": "vllm-plugin.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages outside of docs/ → where they stand in the site."""
_LICENCE: Final = "https://www.apache.org/licenses/LICENSE-2.0"


def gather(source: Path) -> None:
    """All pages of the site into the folder `source`, which is made anew."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("site", "openapi.json", ".ipynb_checkpoints"))
    pages = {ROOT / path: place for path, place in _FROM_ROOT.items()}
    pages |= {page: str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    for page, place in pages.items():
        # The lexer of consoles does not know quotes that go on over several lines.
        text = page.read_text().replace("```console\n", "```text\n")
        (source / place).write_text(_with_links_of_the_site(text, page, place))
    tops = [page.stem for page in source.glob("*.md")]
    (source / "index.md").write_text((source / "index.md").read_text() + "\n" + menu(tops))
    _list_decisions(source)
    _list_operations(source)
    for notebook in sorted((source / "notebooks").glob("*.ipynb")):
        notebook.with_suffix(".md").write_text(notebook_page(notebook, notebook.parent / "pictures"))
    (source / "api").mkdir()
    for name, text in api_pages(json.loads((DOCS / "openapi.json").read_text())).items():
        (source / name).write_text(text)


def build(output: Path) -> int:
    """The site in `output`/html. Returns the exit code, 0 where nothing is to be said against it."""
    from sphinx.cmd.build import build_main

    source, html = output / "source", output / "html"
    gather(source)
    shutil.rmtree(html, ignore_errors=True)
    conf = str(Path(__file__).parent)
    options = ["-W", "--keep-going", "-q", "-E", "-b", "html", "-c", conf, "-d", str(output / "doctrees")]
    if code := int(build_main([*options, str(source), str(html)])):
        return code
    found = faults(html)
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


def _with_links_of_the_site(text: str, page: Path, place: str) -> str:
    """The text of `page`, which stands at `place` in the site, with links to where others stand there."""

    def moved(match: re.Match[str]) -> str:
        target, _, heading = match[1].partition("#")
        there = (page.parent / target).resolve()
        if not target or "://" in target or not there.exists():
            return match[0]
        if there == ROOT / "LICENSE":
            return f"]({_LICENCE})"
        return f"]({os.path.relpath(_place_of(there), Path(place).parent)}{'#' if heading else ''}{heading})"

    return re.sub(r"\]\(([^)\s]+)\)", moved, text)


def _place_of(path: Path) -> str:
    """Where a file or folder of the repository stands in the site."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        name += "/README.md" if (path / "README.md").exists() else "/index.md"
    return _FROM_ROOT.get(name, name.removeprefix("docs/").replace(".ipynb", ".md"))


def _list_decisions(source: Path) -> None:
    folder = source / "decisions"
    pages = [path.stem for path in sorted(folder.glob("0*.md"))]
    measured = [f"measurements/{path.stem}" for path in sorted((folder / "measurements").glob("*.md"))]
    (folder / "index.md").write_text(
        "# Decisions\n\nWhy things are as they are, a page each; the number is the order in which they were taken.\n\n"
        + toctree(pages, hidden=False)
        + "\nWhat was measured for some of them:\n\n"
        + toctree(measured, hidden=False)
    )


def _list_operations(source: Path) -> None:
    page = source / "operations" / "README.md"
    text = page.read_text()
    listed = dict.fromkeys(re.findall(r"\]\((\w[\w-]*)\.md\)", text))
    page.write_text(text + "\n" + toctree([*listed]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "build" / "docs", help="folder for the pages and the site"
    )
    chosen = parser.parse_args()
    if exit_code := build(chosen.output):
        sys.exit(exit_code)
    print(f"the site is {chosen.output / 'html' / 'index.html'}")
