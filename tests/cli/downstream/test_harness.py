"""Running a harness in another interpreter: what it is told, what comes back, and how it may fail.

The harness itself is in `tests/clients/test_downstream.py`; here a script stands in for its interpreter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.downstream.environment import interpreter
from cli.downstream.harness import Order, measure
from cli.downstream.run_lm_eval import _results
from cli.terminal.errors import HarnessError

FOUND = {
    "results": {
        "quiz": {"alias": "quiz", "acc,none": 0.75, "acc_stderr,none": 0.1, "acc_norm,none": 0.5},
        "sayings": {"alias": "sayings", "exact_match,strict": 0.25, "exact_match_stderr,strict": "N/A"},
        "group": {"alias": "group"},
    },
    "n-samples": {"quiz": {"original": 20, "effective": 8}},
    "versions": {"quiz": 1.0, "sayings": "Yaml"},
    "higher_is_better": {"quiz": {"acc": True, "acc_norm": True}, "sayings": {"exact_match": True}},
}


def stand_in(folder: Path, told: dict[str, Any] | None, status: int = 0) -> Path:
    """Writes down what it was asked and which key it was given, says `told`, and ends with `status`."""
    script = folder / "python"
    (folder / "told.json").write_text(json.dumps(told))
    lines = [
        "#!/bin/sh",
        f'cp "$2" {folder}/asked.json',
        f'printf %s "$OPENAI_API_KEY" > {folder}/key',
        "echo first >&2; echo the last words >&2",
        f'cp {folder}/told.json "$3"' if told is not None else ":",
        f"exit {status}",
    ]
    script.write_text("\n".join(lines) + "\n")
    script.chmod(0o755)
    return script


def run(python: Path, order: Order, **changed: Any) -> Any:
    options = {"base_url": "http://h:1/", "reference": "m@v1", "context_length": 64, "api_key": "sk-1", **changed}
    return measure(python, order, **options)


def test_results_are_kept_by_task_and_measure() -> None:
    assert _results(FOUND) == {
        "quiz": {
            "n": 8,
            "version": "1.0",
            "measures": {
                "acc": {"value": 0.75, "stderr": 0.1, "higher_is_better": True},
                "acc_norm": {"value": 0.5, "stderr": None, "higher_is_better": True},
            },
        },
        "sayings": {
            "n": None,
            "version": "Yaml",
            "measures": {"exact_match,strict": {"value": 0.25, "stderr": None, "higher_is_better": True}},
        },
    }


def test_the_harness_is_told_which_model_and_gets_the_key_apart(tmp_path: Path) -> None:
    python = stand_in(tmp_path, {"harness": "0.4.13", "results": _results(FOUND)})
    order = Order(["quiz"], tmp_path, limit=8, model_args={"max_length": 32, "tokenizer": "x"})
    found = run(python, order)
    assert (found.version, set(found.results)) == ("0.4.13", {"quiz", "sayings"})
    asked = json.loads((tmp_path / "asked.json").read_text())
    assert asked["model_args"] == {
        "model": "m@v1",
        "base_url": "http://h:1/v1/completions",
        "max_length": 32,
        "tokenizer": "x",
    }
    assert (asked["tasks"], asked["task_folder"], asked["limit"]) == (["quiz"], str(tmp_path), 8)
    assert "sk-1" not in json.dumps(asked)
    assert (tmp_path / "key").read_text() == "sk-1"
    assert order.settings == {"limit": 8}


@pytest.mark.parametrize(
    ("told", "status", "says"),
    [
        ({"unknown": ["quizz"], "near": {"quizz": ["quiz"]}}, 0, "lm-eval knows no task 'quizz'; near it: quiz"),
        ({"unknown": ["zz"], "near": {"zz": []}}, 0, "give a folder with definitions with --task-folder"),
        ({"harness": "0.4.13", "results": {}}, 0, "measured nothing"),
        (None, 3, "lm-eval ended with 3; it last said:\nfirst\nthe last words"),
        (None, 0, "lm-eval ended with 0"),
    ],
)
def test_what_cannot_be_measured_is_said_plainly(
    tmp_path: Path, told: dict[str, Any] | None, status: int, says: str
) -> None:
    with pytest.raises(HarnessError) as refused:
        run(stand_in(tmp_path, told, status), Order(["quiz"]))
    assert says in str(refused.value)


def test_an_environment_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("cli.downstream.environment.sys.executable", str(stand_in(tmp_path, None, 1)))
    with pytest.raises(HarnessError, match="name its Python with --harness"):
        interpreter(None)
    assert not (tmp_path / "emmetd" / "lm-eval").exists()
    made = tmp_path / "emmetd" / "lm-eval" / "bin" / "python"
    made.parent.mkdir(parents=True)
    made.touch()
    assert interpreter(None) == made, "made once"
    with pytest.raises(HarnessError, match="no such program"):
        interpreter("no-such-python")
