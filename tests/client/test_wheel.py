"""The client is a distribution of its own: its wheel is built, and used by a Python that has nothing of the server."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDED = ("annotated_doc", "annotated_types", "anyio", "certifi", "h11", "httpcore", "httpx", "idna", "pydantic")
ALSO = ("pydantic_core", "sniffio", "typing_extensions", "typing_inspection")
"""Distributions that httpx and pydantic bring; those that this environment lacks are not needed by its releases."""


def test_the_wheel_holds_the_package_and_works_without_the_server(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    source = tmp_path / "source"
    # Not in place: setuptools leaves folders beside what it builds.
    subprocess.run(["cp", "-r", str(ROOT / "client"), str(source)], check=True)
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("emmetd_client-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "emmetd_client/py.typed" in names
    assert "emmetd_client/_sync/client.py" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"emmetd_client"}

    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False)
    (site,) = bare.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    for name in (*NEEDED, *ALSO):
        _link(name, site)
    code = (
        "import importlib.util; from emmetd_client import Emmetd, __version__; print(Emmetd(), __version__); "
        "assert not [one for one in ('torch', 'fastapi', 'api_schemas', 'typer') if importlib.util.find_spec(one)]"
    )
    python = [str(bare / "bin" / "python"), "-I", "-c", code]
    done = subprocess.run(python, capture_output=True, text=True, check=False)
    assert done.stdout == f"Emmetd('http://127.0.0.1:8000') {wheel.name.split('-')[1]}\n", done.stderr


def _link(name: str, site: Path) -> None:
    """Lend the bare environment one distribution of this one."""
    from importlib.metadata import PackageNotFoundError

    try:
        found = distribution(name)
    except PackageNotFoundError:
        return
    for top in {file.parts[0] for file in found.files or () if not file.parts[0].startswith("..")}:
        place = Path(str(found.locate_file(top)))
        if place.exists() and not (site / top).exists() and top != "__pycache__":
            (site / top).symlink_to(place)
