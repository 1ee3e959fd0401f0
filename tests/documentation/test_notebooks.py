"""The notebooks run from their first cell to their last on a real server, and keep nothing that is of one run only."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from docs.site.notebook_pages import notebook_page
from docs.site.run_notebooks import NOTEBOOKS, kept, run
from tests.documentation.conftest import ROOT
from tests.support.programs import missing
from tests.support.running.server import Server

NAMES = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
PICTURES = {"a-line-over-time": 1, "comparing-methods": 1, "first-correction": 0}


def outputs(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


@pytest.fixture(scope="module")
def server(chat_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if importlib.util.find_spec("nbclient") is None or importlib.util.find_spec("ipykernel") is None:
        missing("nbclient", "pip install '.[documentation]'")
    with Server(chat_model, tmp_path_factory.mktemp("notebooks") / "data", name="smollm2-135m") as server:
        yield server


def test_there_are_three() -> None:
    assert sorted(PICTURES) == NAMES


@pytest.mark.filterwarnings("ignore")  # Jupyter's own are of its loops and sockets
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("EMMETD_URL", str(server.http.base_url))
    monkeypatch.delenv("EMMETD_API_KEY", raising=False)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'client' / 'src'}")

    done = kept(run(NOTEBOOKS / f"{name}.ipynb", tmp_path))

    assert not [output for output in outputs(done) if output["output_type"] == "error"]
    pictures = [output for output in outputs(done) if "image/png" in output.get("data", {})]
    assert len(pictures) == PICTURES[name]
    page_of_it = tmp_path / f"{name}.ipynb"
    page_of_it.write_text(json.dumps(done))
    page = notebook_page(page_of_it, tmp_path / "pictures")
    assert page.count("![") == len(list((tmp_path / "pictures").glob("*.png"))) == PICTURES[name]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_single_run_is_kept(name: str) -> None:
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())

    assert kept(json.loads(json.dumps(notebook))) == notebook, "python -m docs.site.run_notebooks --write writes them"
    assert notebook["cells"][0]["source"][0].startswith("# ")
    assert {output["output_type"] for output in outputs(notebook)} <= {"stream", "display_data", "execute_result"}
    assert "127.0.0.1:8" not in json.dumps(outputs(notebook))
