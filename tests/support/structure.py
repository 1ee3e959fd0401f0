"""How the code is laid out, read from its own imports: a table of folders, and what breaks the rules of the house.

    python -m tests.support.structure              this repository
    python -m tests.support.structure OTHER/TREE   another checkout, by the layers that its own pyproject.toml declares

Rules: at most 16 modules in a folder and 300 lines in a file; no import against the order of the layers that
pyproject.toml declares for import-linter; no circle among rooms or among modules. A folder is a room; a module beside
folders, such as service/app.py, is a room of its own. Tests are counted, and held to the rule about modules in circles
alone; scripts beside the packages are held to that about lines. Exits with 1 where a rule is broken.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_MODULES = 16
MOST_LINES = 300
TESTS = "tests"
SCRIPTS = ("docker", "kubernetes", "plugins")
WITH_REASON: dict[str, str] = {
    "api_schemas": "a module for each resource of the API, as its document lists them",
    "configuration": "a module for each part of the settings, as their page lists them",
    "store/schema/migrations/versions": "a file for each change of the tables, in one row",
    "benchmarks/thousand_versions.py": "one measurement, from its line of versions to its bounds",
}
"""Folders and files, as paths, that may be larger: why."""

_TOO_LONG = f"has more than {MOST_LINES} lines, which needs a reason"

Imports = dict[str, set[str]]
"""Module → the modules of this repository that it imports, anywhere in it; or the same of rooms."""


@dataclass
class Folder:
    """One row of the table."""

    modules: int = 0
    imports: set[tuple[str, str]] = field(default_factory=set)
    """From a room of this folder into another room, as names of rooms."""
    upwards: set[tuple[str, str]] = field(default_factory=set)
    """Imports of modules against the declared order."""
    long_files: list[str] = field(default_factory=list)


@dataclass
class Structure:
    folders: dict[str, Folder]
    circles_of_rooms: list[list[str]]
    circles_of_modules: list[list[str]]
    violations: list[str]


def modules_of(root: Path, packages: Iterable[str]) -> dict[str, Path]:
    """Dotted name → file, for all modules of the packages."""
    found = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(modules: Mapping[str, Path]) -> Imports:
    return {name: set(_imported(ast.parse(path.read_text()), modules)) - {name} for name, path in modules.items()}


def _imported(tree: ast.AST, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & modules.keys()
            if names - modules.keys() and node.module in modules:
                yield node.module


def circles_in(imports: Imports) -> list[list[str]]:
    """Sets of modules that each import all others of their set, directly or not (Tarjan 1972)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = lowest[name] = len(index)
        stack.append(name)
        for other in sorted(imports[name]):
            if other not in index:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], index[other])
        if lowest[name] == index[name]:
            at = stack.index(name)
            circle = stack[at:]
            del stack[at:]
            if len(circle) > 1:
                found.append(sorted(circle))

    for name in sorted(imports):
        if name not in index:
            visit(name)
    return sorted(found)


def declared_layers(pyproject: Mapping[str, Any]) -> list[dict[str, tuple[int, int]]]:
    """For each contract on layers: module → its layer from the top, and its place among those that stand beside it.

    Modules beside each other, `a | b`, must not import each other; `a : b` may.
    """
    contracts = []
    for contract in pyproject["tool"]["importlinter"]["contracts"]:
        if contract["type"] != "layers":
            continue
        for container in contract.get("containers", [""]):
            places = {}
            for layer, line in enumerate(contract["layers"]):
                for place, name in enumerate(line.replace(":", "|").split("|")):
                    full = f"{container}.{name.strip('() ')}" if container else name.strip("() ")
                    places[full] = (layer, 0 if ":" in line else place)
            contracts.append(places)
    return contracts


def points_up(importer: str, imported: str, contracts: Iterable[Mapping[str, tuple[int, int]]]) -> bool:
    for places in contracts:
        one, other = _place(importer, places), _place(imported, places)
        if one is None or other is None or one == other:
            continue
        if one[0] > other[0] or one[0] == other[0]:
            return True
    return False


def _place(module: str, places: Mapping[str, tuple[int, int]]) -> tuple[int, int] | None:
    parts = module.split(".")
    return next((places[name] for n in range(len(parts), 0, -1) if (name := ".".join(parts[:n])) in places), None)


def room_of(module: str, modules: Mapping[str, Path]) -> str:
    """The folder of a module, or the module itself where it stands beside folders."""
    folder, _, _ = module.rpartition(".")
    if not folder or modules[module].name == "__init__.py":
        return module
    beside_folders = any(name.startswith(f"{folder}.") and name.count(".") > module.count(".") for name in modules)
    return module if beside_folders else folder


def structure_of(root: Path) -> Structure:
    pyproject = tomllib.loads((root / "pyproject.toml").read_text())
    packages = pyproject["tool"]["importlinter"]["root_packages"]
    modules = modules_of(root, packages)
    imports = imports_of(modules)
    contracts = declared_layers(pyproject)
    folders: dict[str, Folder] = {}
    rooms: Imports = {room_of(name, modules): set() for name in modules}
    for name, path in modules_of(root, [*packages, TESTS]).items():
        folder = folders.setdefault(path.parent.relative_to(root).as_posix(), Folder())
        folder.modules += path.name != "__init__.py"
        if _is_long(path):
            folder.long_files.append(path.relative_to(root).as_posix())
        for other in imports.get(name, ()):
            if (here := room_of(name, modules)) != (there := room_of(other, modules)):
                folder.imports.add((here, there))
                rooms[here].add(there)
            if points_up(name, other, contracts):
                folder.upwards.add((name, other))
    with_tests = modules_of(root, [*packages, TESTS])
    structure = Structure(folders, circles_in(rooms), circles_in(imports_of(with_tests)), [])
    structure.violations += _violations(structure)
    for path in modules_of(root, SCRIPTS).values():
        if _is_long(path) and (name := path.relative_to(root).as_posix()) not in WITH_REASON:
            structure.violations.append(f"{name} {_TOO_LONG}")
    return structure


def _is_long(path: Path) -> bool:
    return len(path.read_text().splitlines()) > MOST_LINES


def _violations(structure: Structure) -> Iterator[str]:
    for name, folder in structure.folders.items():
        if name == TESTS or name.startswith(f"{TESTS}/"):
            continue
        if folder.modules > MOST_MODULES and name not in WITH_REASON:
            yield f"{name}/ has {folder.modules} modules, and more than {MOST_MODULES} need a reason"
        yield from (f"{path} {_TOO_LONG}" for path in folder.long_files if path not in WITH_REASON)
        yield from (f"{one} imports {other}, which stands above it" for one, other in sorted(folder.upwards))
    yield from (f"a circle of rooms: {', '.join(circle)}" for circle in structure.circles_of_rooms)
    yield from (f"a circle of modules: {', '.join(circle)}" for circle in structure.circles_of_modules)


def table(structure: Structure) -> str:
    """Markdown: a row for each folder, and their sums with the tests' in a row of its own; then the circles."""
    head = ["folder", "modules", "imports into other rooms", "of them up", f"files over {MOST_LINES} lines"]
    rows = []
    own, tests = Folder(), Folder()
    for name, folder in sorted(structure.folders.items()):
        total = tests if name == TESTS or name.startswith(f"{TESTS}/") else own
        total.modules += folder.modules
        total.imports |= folder.imports
        total.upwards |= folder.upwards
        total.long_files += folder.long_files
        if total is own and folder.modules:
            rows.append(_cells(f"{name}/", folder))
    rows += [_cells("**all**", own), _cells("tests/", tests)]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    circles = [
        f"Circles of {what}: {len(found)}" + (f", of {sum(map(len, found))} together." if found else ".")
        for what, found in (("rooms", structure.circles_of_rooms), ("modules", structure.circles_of_modules))
    ]
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", " ".join(circles)])


def _cells(name: str, folder: Folder) -> list[str]:
    numbers = (folder.modules, len(folder.imports), len(folder.upwards), len(folder.long_files))
    return [name, *(str(number) for number in numbers)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.structure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    here = Path(__file__).parents[2]
    parser.add_argument("root", nargs="?", type=Path, default=here, help="the checkout to read; by default this one")
    structure = structure_of(parser.parse_args(arguments).root)
    print(table(structure))
    if structure.violations:
        print("\n" + "\n".join(f"- {violation}" for violation in structure.violations))
    return 1 if structure.violations else 0


if __name__ == "__main__":
    sys.exit(main())
