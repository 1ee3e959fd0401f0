"""An interpreter that has lm-eval: the one that the operator names, or an environment that is made once.

The harness and what it needs (half a gigabyte) do not belong among the packages of whoever asks a server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from cli.terminal.errors import HarnessError

REQUIREMENT: Final = "lm-eval[api]>=0.4.9,<0.5"
_LINES_SHOWN: Final = 8


def cache_folder() -> Path:
    """Where environments that are made here lie: XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emmetd"


def interpreter(named: str | None, requirement: str = REQUIREMENT) -> Path:
    """The Python to run the harness with. Raises HarnessError with the remedy."""
    if named is not None:
        found = shutil.which(named)
        if found is None:
            raise HarnessError(f"--harness {named}: no such program; name a Python that has lm-eval[api]")
        return Path(found)
    folder = cache_folder() / "lm-eval"
    python = folder / "bin" / "python"
    if not python.is_file():
        _make(folder, requirement)
    return python


def _make(folder: Path, requirement: str) -> None:
    """All of it or nothing: one that was interrupted is never taken for whole."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        _run([sys.executable, "-m", "venv", str(folder)], "cannot make an environment")
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, requirement], f"cannot install {requirement}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_LINES_SHOWN:])
        raise HarnessError(f"{what}; install lm-eval[api] and name its Python with --harness. It said:\n{said}")
