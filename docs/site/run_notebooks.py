"""Runs the notebooks: python -m docs.site.run_notebooks [--write] [NAME ...], against the server that EMMETD_URL names.

With --write what they gave out is kept in them, for the site to show: use it with the default model, which the texts
around the cells are about. Times, progress bars and warnings are left out, so that another run changes what it measured
and nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

NOTEBOOKS: Final = Path(__file__).parents[1] / "notebooks"
CELL_SECONDS: Final = 3600
_SHOWN: Final = ("text/plain", "image/png", "text/markdown")


def run(path: Path, folder: Path) -> dict[str, Any]:
    """The notebook at `path`, executed in `folder`, with what each cell gave out. Raises CellExecutionError."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": folder}}
    NotebookClient(notebook, timeout=CELL_SECONDS, kernel_name="python3", resources=place).execute()
    return dict(json.loads(nbformat.writes(notebook)))


def kept(notebook: dict[str, Any]) -> dict[str, Any]:
    """What is written down of a run."""
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        if cell["cell_type"] == "code":
            cell["execution_count"] = None
            cell["outputs"] = [output for one in cell["outputs"] if (output := _kept(one)) is not None]
    notebook["metadata"] = {name: notebook["metadata"][name] for name in ("kernelspec",)}
    notebook["metadata"]["language_info"] = {"name": "python"}
    return notebook


def _kept(output: dict[str, Any]) -> dict[str, Any] | None:
    if output["output_type"] == "stream":
        return output if output["name"] == "stdout" else None
    data = {kind: value for kind, value in output["data"].items() if kind in _SHOWN}
    if output["output_type"] == "execute_result":
        return {**output, "data": data, "execution_count": None, "metadata": {}}
    return {**output, "data": data, "metadata": {}}


def main(arguments: list[str] | None = None) -> int:
    known = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"by default all: {', '.join(known)}")
    parser.add_argument("--write", action="store_true", help="keep what they gave out in the notebooks")
    given = parser.parse_args(arguments)
    for name in given.names or known:
        path = NOTEBOOKS / f"{name}.ipynb"
        done = kept(run(path, NOTEBOOKS))
        if given.write:
            path.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")
        print(f"{name}: {len(done['cells'])} cells")
    return 0


if __name__ == "__main__":
    sys.exit(main())
