"""`emmetd models`: a model and its C0 are made ready ahead of time, and listed."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.main import app
from editing.model.loading import load_model
from tests.support.tiny_loaded import save_tiny
from tests.support.tiny_models import LINES
from workers.process.shown_progress import ShownProgress
from workers.statistics.layer_statistics import LayerStatistics


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in os.environ:
        if name.startswith("EMMETD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EMMETD_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "news.jsonl"
    file.write_text("\n".join(json.dumps({"body": line, "id": n}) for n, line in enumerate(LINES * 20)))
    return file


def models(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def told(*arguments: object) -> Any:
    done = models(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def unbuildable() -> bool:
    raise AssertionError("nothing is to be built")


def test_what_is_prepared_is_what_a_worker_then_finds(model: Path, data: Path) -> None:
    done = models("prepare", model, "--tokens", 200)
    assert done.exit_code == 0, done.output
    assert "layer  1  200 tokens  shrinkage" in done.stdout
    assert "edits use these once the settings" in done.stdout
    assert "text: " in done.stderr

    found = told("prepare", model)
    assert found["used_by_edits"]
    loaded = load_model(str(model), cache=data)
    assert (found["fingerprint"], found["dtype"]) == (loaded.fingerprint, "float32")
    worker = LayerStatistics(loaded, data)
    used = worker.get(worker.default_layers(), should_stop=unbuildable)[1]
    assert worker.held_out(should_stop=unbuildable).tokens > 0
    (layer,) = found["layers"]
    assert (layer["tokens"], layer["condition_number"]) == (used.tokens, used.condition)


def test_a_file_several_layers_and_a_multiplier(model: Path, corpus: Path) -> None:
    found = told("prepare", model, "--layers", "0,2", "--text", corpus, "--field", "body", "--multiplier", 4)
    assert [(layer["layer"], layer["tokens"]) for layer in found["layers"]] == [(0, 192), (2, 192)]
    assert all(layer["corpus"].startswith("news.jsonl (") for layer in found["layers"])
    assert not found["used_by_edits"]


def test_the_list_shows_models_and_their_statistics(model: Path, data: Path) -> None:
    assert "start with: emmetd models prepare" in models("list").stdout
    made = told("prepare", model, "--tokens", 100, "--layers", "3")
    shown = models("list").stdout
    assert shown.startswith("tiny-llama  ")
    assert f"weights {made['fingerprint'][:12]}…" in shown
    assert "layer  3  100 tokens" in shown
    (data / "statistics" / "layer-9-broken.safetensors").write_bytes(b"no statistic")
    (row,) = told("list", "tiny-llama")
    assert (row["weights"], row["folder"]) == ({"float32": made["fingerprint"]}, str(model))
    assert [(one["layer"], one["tokens"]) for one in row["statistics"]] == [(3, 100)]
    other = models("list", "huge")
    assert (other.exit_code, "there: tiny-llama" in other.output) == (1, True)


def test_a_configured_corpus_is_the_one_of_edits(
    model: Path, corpus: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMMETD_CORPORA", json.dumps({"news": f"{corpus}#field=body"}))
    assert not told("prepare", model, "--corpus", "news", "--tokens", 90)["used_by_edits"]
    monkeypatch.setenv("EMMETD_CORPUS", "news")
    monkeypatch.setenv("EMMETD_CORPUS_TOKENS", "90")
    found = told("prepare", model)
    assert found["used_by_edits"]
    assert found["layers"][0]["tokens"] == 90


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--corpus", "wiki"], 1, "corpus 'wiki' is not configured here; known: self"),
        (["--text", "gone.txt"], 1, "gone.txt' cannot be read"),
        (["--layers", "7"], 1, "layers [7] do not exist; the model has layers 0 to 3"),
        (["--layers", "a"], 2, "'a' are no layers"),
        (["--corpus", "self", "--text", "a.txt"], 2, "give one"),
        (["--tokens", "5", "--multiplier", "5"], 2, "give one"),
    ],
)
def test_what_cannot_be_made_is_told_in_one_message(model: Path, options: list[str], code: int, says: str) -> None:
    done = models("prepare", model, *options)
    assert done.exit_code == code, done.output
    assert says in " ".join(done.output.replace("│", " ").split())
    assert "Traceback" not in done.output


def test_the_plan_tells_what_memory_a_worker_takes_and_makes_nothing(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = model.parent / "configuration"
    alone.mkdir()
    shutil.copy(model / "config.json", alone)
    told_of = told("prepare", alone, "--plan", "--layers", "1,2")
    parts = {part["name"]: part["bytes"] for part in told_of["parts"]}
    assert (told_of["fits"], told_of["refusal"], told_of["layers"]) == (True, None, [1, 2])
    assert parts["C0"] == parts["C0's factor"] == 2 * 48 * 48 * 8
    assert told_of["places"]["host"]["peak"] >= sum(
        parts[name] for name in ("model", "C0", "key-value cache", "matrix cache", "values")
    )
    shown = models("prepare", alone, "--plan").stdout
    assert "C0's factor" in shown
    assert shown.rstrip().endswith("it fits")
    assert not (data / "statistics").exists()

    monkeypatch.setenv("EMMETD_KV_CACHE_BYTES", "1")
    monkeypatch.setenv("EMMETD_MATRIX_CACHE_BYTES", "900TiB")
    refused = models("prepare", alone, "--plan")
    assert refused.exit_code == 1
    assert "set EMMETD_MATRIX_CACHE_BYTES=" in refused.stdout
    assert models("prepare", alone, "--plan", "--layers", "9").exit_code == 2


def test_no_such_model_is_told() -> None:
    done = models("prepare", "./nowhere")
    assert done.exit_code == 78
    assert "model = './nowhere'" in done.output


def test_ctrl_c_stops_between_two_steps_and_the_same_command_goes_on(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(self: ShownProgress, stage: str, done: float, total: float) -> None:
        if stage == "statistic":
            signal.raise_signal(signal.SIGINT)

    asked = ["prepare", model, "--tokens", 6000]
    with monkeypatch.context() as while_pressed:
        while_pressed.setattr(ShownProgress, "__call__", press)
        stopped = models(*asked)
    assert stopped.exit_code == 130, stopped.output
    assert "the same command goes on" in stopped.output
    assert told(*asked)["layers"][0]["tokens"] == 6000
