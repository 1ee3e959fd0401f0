"""Trials of settings on a tiny model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tradeoff
from benchmarks.trial import keep_values, read_values
from editing.values.optimisation import ValueOptimisation
from tests.support.tiny_loaded import save_tiny

SUBJECTS = ("Danielle Darrieux", "Toko Yasuda", "Lyon", "Danielle Darrieux", "Melchior", "Anna Karina")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tradeoff")
    facts = [
        {
            "prompt": "The mother tongue of {} is",
            "subject": subject,
            "target_new": f"word {number}",
            "target_old": "French",
            "paraphrases": [f"{subject} speaks", f"{subject} talks"],
            "neighbors": [{"prompt": "Paul speaks", "target": "French"}],
        }
        for number, subject in enumerate(SUBJECTS)
    ]
    (folder / "facts.jsonl").write_text("\n".join(map(json.dumps, facts)))
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog " * 40)
    return {
        "--facts": folder / "facts.jsonl",
        "--text": folder / "text.txt",
        "--data": folder / "data",
        "--cache": folder / "values",
        "--model": save_tiny(folder / "model"),
    }


def run(
    monkeypatch: pytest.MonkeyPatch, inputs: dict[str, Path], output: Path, *more: str, status: int = 0
) -> dict[str, Any]:
    given = [str(part) for pair in inputs.items() for part in pair]
    small = ["--number", "3", "--text-tokens", "64", "--tokens", "512"]
    monkeypatch.setattr("sys.argv", ["tradeoff", *given, "--output", str(output), *small, *more])
    assert tradeoff.main() == status
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def test_a_table_over_draws_that_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.json"
    first = run(monkeypatch, inputs, output, "--seeds", "1", "--trial", '{"steps": 2, "repair_rounds": 0}')
    assert [row["trial"] for row in first["rows"]] == [None, {"steps": 2, "repair_rounds": 0}]
    assert first["rows"][0]["drift"] == 1.0
    assert first["rows"][1]["drift"] != 1.0
    again = run(
        monkeypatch,
        inputs,
        output,
        "--seeds",
        "1",
        "2",
        "--trial",
        '{"steps": 2, "repair_rounds": 0}',
        "--trial",
        '{"mu": 9}',
    )
    assert again["rows"][:2] == first["rows"]
    assert [(row["seed"], row["trial"]) for row in again["rows"][2:]] == [
        (1, {"mu": 9}),
        (2, None),
        (2, {"steps": 2, "repair_rounds": 0}),
        (2, {"mu": 9}),
    ]
    draws = [row["drift"] for row in again["rows"] if row["trial"] == {"steps": 2, "repair_rounds": 0}]
    (about,) = [one for one in again["summary"] if one["trial"] == {"steps": 2, "repair_rounds": 0}]
    assert about["drift"]["mean"] == pytest.approx(sum(draws) / 2)
    assert about["drift"]["half_interval"] == pytest.approx(12.706 * abs(draws[0] - draws[1]) / 2)

    def optimised_again(*_: object) -> None:
        raise AssertionError("values were kept")

    monkeypatch.setattr(ValueOptimisation, "run", optimised_again)
    kept = run(
        monkeypatch, inputs, tmp_path / "other.json", "--seeds", "2", "--trial", '{"steps": 2, "repair_rounds": 0}'
    )
    assert kept["rows"][-1]["drift"] == draws[1]


def test_trials_on_other_texts_and_bounds_that_are_missed(
    monkeypatch: pytest.MonkeyPatch, inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.json"
    trials = ("{}", '{"corpus": "text"}', '{"corpus": "text", "corpus_tokens": 700}')
    more = [part for trial in trials for part in ("--trial", trial)]
    bounds = ["--bound", "drift<=1000000", "--bound", "EM>=2"]
    with_bounds = run(monkeypatch, inputs, output, "--seeds", "1", *more, *bounds, status=1)
    assert [(bound["name"], bound["held"]) for bound in with_bounds["bounds"]] == [("drift", True), ("EM", False)]
    assert "at least 2.0: MISSED" in capsys.readouterr().out
    assert len({row["drift"] for row in with_bounds["rows"]}) == 4
    base, default, *_ = with_bounds["rows"]
    assert with_bounds["summary"][1]["NS_change"]["mean"] == default["NS"] - base["NS"]
    with pytest.raises(SystemExit):
        run(monkeypatch, inputs, output, "--bound", "EM=1")
    assert "'EM=1' is no bound; such as EM>=0.95" in capsys.readouterr().err


def test_facts_that_share_a_subject_are_drawn_together(
    monkeypatch: pytest.MonkeyPatch, inputs: dict[str, Path], tmp_path: Path
) -> None:
    records = inputs["--facts"].read_text().splitlines()
    other = json.loads(records[1]) | {"prompt": "{} plays the", "target_new": "piano"}
    (tmp_path / "facts.jsonl").write_text("\n".join([*records, json.dumps(other)]))
    given = {**inputs, "--facts": tmp_path / "facts.jsonl"}
    found = run(monkeypatch, given, tmp_path / "out.json", "--shared", "--seeds", "1", "--trial", '{"steps": 2}')
    # Two of Toko Yasuda, and one of Danielle Darrieux: her second contradicts her first.
    assert [(row["number"], row["facts"]) for row in found["rows"]] == [(3, 3), (3, 3)]


def test_kept_values_are_the_values(tmp_path: Path, inputs: dict[str, Path]) -> None:
    (kept, *_) = sorted(inputs["--cache"].iterdir())
    values, seconds = read_values(kept)
    keep_values(tmp_path / "again.safetensors", values, seconds)
    again, same = read_values(tmp_path / "again.safetensors")
    assert same == seconds
    assert again.layer == values.layer
    assert again.reached.equal(values.reached)
    assert again.deltas.equal(values.deltas)


@pytest.mark.parametrize(("figures", "expected"), [([1.0], None), ([1.0, 2.0, 3.0], 4.303 / math.sqrt(3))])
def test_intervals(figures: list[float], expected: float | None) -> None:
    assert tradeoff.half_interval(figures) == (None if expected is None else pytest.approx(expected))
