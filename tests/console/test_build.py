"""The committed pages are what the source makes, and the source computes what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.support.programs import program

REPOSITORY = Path(__file__).parents[2]


def npm(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [program("npm"), "--prefix", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "CI": "1"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def copied(source: Path, tmp_path: Path) -> Path:
    """The source and the API's document, as they stand to one another, to be built where nothing is committed."""
    shutil.copytree(source, tmp_path / "console", ignore=shutil.ignore_patterns("node_modules", "schema.d.ts"))
    (tmp_path / "console" / "node_modules").symlink_to(source / "node_modules")
    (tmp_path / "docs").mkdir()
    shutil.copy(REPOSITORY / "docs" / "openapi.json", tmp_path / "docs")
    return tmp_path / "console"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_build_from_source_gives_the_committed_pages(source: Path, tmp_path: Path) -> None:
    folder = copied(source, tmp_path)

    npm(folder, "run", "build")

    built = files(tmp_path / "service" / "console" / "pages")
    committed = files(REPOSITORY / "service" / "console" / "pages")
    assert sorted(built) == sorted(committed), "the source has changed: make console, and commit the pages"
    assert built == committed


def test_a_field_that_changes_in_the_document_breaks_the_build(source: Path, tmp_path: Path) -> None:
    folder = copied(source, tmp_path)
    document = tmp_path / "docs" / "openapi.json"
    changed = json.loads(document.read_text())
    properties = changed["components"]["schemas"]["EditJob"]["properties"]
    properties["foundation"] = properties.pop("base_version")
    document.write_text(json.dumps(changed))

    done = subprocess.run([program("npm"), "--prefix", str(folder), "run", "build"], capture_output=True, text=True)

    assert done.returncode != 0
    assert "Property 'base_version' does not exist" in done.stdout


def test_what_computes_is_right(source: Path) -> None:
    assert re.search(r"Tests\s+\d+ passed", npm(source, "test"))


def test_components_can_be_read_at_a_sitting() -> None:
    """Fewer than 200 lines each, the only request in one module, and no style outside of the style sheets."""
    source = [path for path in (REPOSITORY / "console" / "src").rglob("*.ts*") if path.name != "schema.d.ts"]
    assert len(source) > 40
    assert [path.name for path in source if len(path.read_text().splitlines()) >= 200] == []
    assert [path.name for path in source if re.search(r"\bfetch\(", path.read_text())] == ["client.ts"]
    assert [path.name for path in source if "EventSource(" in path.read_text()] == []


def test_the_list_of_packages_names_no_host() -> None:
    lock = json.loads((REPOSITORY / "console" / "package-lock.json").read_text())

    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
