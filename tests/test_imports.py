"""Every list of packages is the same, and the front end never loads PyTorch (layers: tests/test_structure.py)."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIGHT_PACKAGES = ("api_schemas", "configuration", "store", "service")

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if ".migrations" not in module.name:  # these run inside Alembic only
        importlib.import_module(module.name)
heavy = sorted({"torch", "transformers"} & set(sys.modules))
sys.exit(f"{package.__name__} imported {heavy}" if heavy else 0)
"""


@pytest.mark.parametrize("package", LIGHT_PACKAGES)
def test_no_module_of_the_front_end_loads_pytorch(package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING, package], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_list_of_packages_is_the_same() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    packages = set(tool["importlinter"]["root_packages"]) - {"emmetd_client"}  # a distribution of its own, in client/
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == packages
    assert {pattern.removesuffix("*") for pattern in tool["setuptools"]["packages"]["find"]["include"]} == packages
    assert set(tool["mypy"]["packages"]) == packages | {"docs.site", "emmetd_client", "emmetd_vllm", "tests"}
    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    assert {name for name in sent if (ROOT / name).is_dir()} == packages | {"client"}
