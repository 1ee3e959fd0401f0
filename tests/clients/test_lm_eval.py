"""lm-evaluation-harness as PyPI has it: `local-completions` against the server, its own `hf` on the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import EDITED, Serving
from tests.support.saved_models import CONTEXT_LENGTH, LANGUAGES, SUBJECTS

ROOT = Path(__file__).parents[2]
QUESTIONS = [
    {"question": f"The mother tongue of {subject} is", "languages": list(LANGUAGES), "answer": number % len(LANGUAGES)}
    for number, subject in enumerate(SUBJECTS[:8])
]
TASKS = {
    "languages": """
        output_type: multiple_choice
        doc_to_text: "{{question}}"
        doc_to_choice: "{{languages}}"
        doc_to_target: "{{answer}}"
        metric_list: [{metric: acc}]
        """,
    "sayings": """
        output_type: generate_until
        doc_to_text: "{{question}}"
        doc_to_target: "{{languages[answer]}}"
        generation_kwargs: {until: ["."], max_gen_toks: 24, do_sample: false, temperature: 0.0}
        metric_list: [{metric: exact_match}]
        """,
    "texts": """
        output_type: loglikelihood_rolling
        doc_to_text: ""
        doc_to_target: "{{question}} {{languages[answer]}}."
        metric_list: [{metric: byte_perplexity}]
        """,
}


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A folder of task definitions over a local file."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    data = folder / "questions.jsonl"
    data.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
    for name, definition in TASKS.items():
        lines = [line.strip() for line in definition.strip().splitlines()]
        source = ["dataset_path: json", f"dataset_kwargs: {{data_files: {{test: {data}}}}}", "test_split: test"]
        (folder / f"{name}.yaml").write_text("\n".join([f"task: {name}", *source, *lines]) + "\n")
    return folder


def evaluate(tasks: Path, models: dict[str, dict[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Every model on every task; its samples in order."""
    output = tasks.parent / "samples.json"
    command = [sys.executable, "-m", "tests.clients.run_lm_eval", str(tasks), str(output), json.dumps(models)]
    offline = {"HF_HOME": str(tasks.parent / "hub"), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment = {**os.environ, **offline}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return {
        model: {task: sorted(found[task], key=lambda sample: int(sample["doc_id"])) for task in TASKS}
        for model, found in json.loads(output.read_text()).items()
    }


def test_local_completions_measures_what_the_weights_say(serving: Serving, tasks: Path) -> None:
    endpoint = {
        "model": EDITED,
        "base_url": f"{serving.api}/completions",
        "max_length": CONTEXT_LENGTH,
        "custom_prefix_token_id": 0,  # this tokenizer's BOS, which the harness takes for none because it is 0
    }
    # Over HTTP the harness asks for tokens without special ones, so let there be none here either.
    weights = {"pretrained": str(serving.merged), "device": "cpu", "dtype": "float32", "add_bos_token": False}
    samples = evaluate(tasks, {"local-completions": endpoint, "hf": {**weights, "max_length": CONTEXT_LENGTH}})
    over_http, in_process = samples["local-completions"], samples["hf"]

    for task, found in over_http.items():
        assert len(found) == len(in_process[task]) == len(QUESTIONS)
    for ours, theirs in zip(over_http["languages"], in_process["languages"], strict=True):
        for (score, greedy), (known, known_greedy) in zip(_scores(ours), _scores(theirs), strict=True):
            assert score == pytest.approx(known, abs=1e-4)
            assert greedy == known_greedy
    for ours, theirs in zip(over_http["sayings"], in_process["sayings"], strict=True):
        assert ours["resps"] == theirs["resps"]
        assert ours["resps"][0][0]
    for ours, theirs in zip(over_http["texts"], in_process["texts"], strict=True):
        assert _only(ours["resps"]) == pytest.approx(_only(theirs["resps"]), abs=1e-4)


def _scores(sample: dict[str, Any]) -> list[tuple[float, bool]]:
    """(log-likelihood, whether it is the greedy continuation) of each choice; the log writes both as text."""
    return [(float(value), str(greedy) == "True") for ((value, greedy),) in sample["resps"]]


def _only(nested: Any) -> Any:
    while isinstance(nested, list):
        (nested,) = nested
    return nested
