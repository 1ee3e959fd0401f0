"""`emmetd bench values` and `python -m benchmarks`, on models and sizes that take seconds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import __main__ as benchmarks
from benchmarks import matrix_rate
from cli.main import app
from tests.support.tiny_loaded import save_tiny

FACTS = (
    {"prompt": "The mother tongue of {} is", "subject": "Danielle Darrieux", "target_new": "English"},
    {"prompt": "{} plays the", "subject": "Toko Yasuda", "target_new": "piano"},
    {"prompt": "The twin city of {} is", "subject": "Lyon", "target_new": "Madrid"},
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("EMMETD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EMMETD_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(matrix_rate, "MATRIX_SIZES", {"cpu": 32})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    file = tmp_path / "facts.jsonl"
    file.write_text("\n".join(map(json.dumps, FACTS)))
    return file


def test_the_plain_way_and_ours_end_at_the_same_loss(model: Path, facts: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    asked = ["bench", "values", "--facts", str(facts), "--limit", "3", "--output", str(output), "--model", str(model)]
    told = CliRunner().invoke(app, [*asked, "--plain", "2", "--steps", "3"])
    assert told.exit_code == 0, told.output
    found = json.loads(output.read_text())
    assert (found["facts"], found["plain"]["facts"], found["keys"]["facts"]) == (3, 2, 3)
    assert found["plain"]["losses"] == pytest.approx(found["ours"]["losses_of_plain_facts"], rel=1e-3)
    assert found["ours"]["mean_steps"] == 3
    assert found["speedup"] == pytest.approx(
        found["plain"]["seconds_per_fact"] / found["ours"]["seconds_per_fact"], rel=1e-9
    )
    assert set(found) > {"speedup_early_stopping", "share_of_matrix_rate", "bfloat16", "environment", "step_time"}
    assert found["bfloat16"]["mean_steps"] == 3
    assert found["bfloat16"]["losses_of_plain_facts"] == pytest.approx(found["plain"]["losses"], rel=0.1)
    assert sum(found["step_time"]["shares"].values()) == pytest.approx(1)
    for said in ("speedup ", "share of the matrix rate", "bfloat16"):
        assert said in told.stdout
    assert "plain way: " in told.stderr


def test_a_missing_file_a_broken_one_and_no_folder_are_told_in_one_line(tmp_path: Path, facts: Path) -> None:
    for file, output, says in (
        (tmp_path / "none.jsonl", str(tmp_path / "out.json"), "no such file"),
        (facts, str(facts / "folder" / "out.json"), "its folder cannot be made"),
    ):
        told = CliRunner().invoke(app, ["bench", "values", "--facts", str(file), "--output", output])
        assert told.exit_code == 1
        assert told.output.startswith("emmetd: ")
        assert says in told.output
        assert "Traceback" not in told.output


def test_named_benchmarks_print_their_tables_and_write_json(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "results"
    done = benchmarks.main(["solve", "statistic", "--quick", "--model", str(model), "--results", str(place)])
    assert done == 0
    assert sorted(file.name for file in place.iterdir()) == ["solve.json", "statistic.json"]
    solve = json.loads((place / "solve.json").read_text())
    assert [(row["facts"], row["side"]) for row in solve["rows"]] == [(1, "keys"), (16, "keys"), (400, "inputs")]
    assert all(row["finite"] and row["peak_gib"] >= row["inputs_gib"] > 0 for row in solve["rows"])
    assert (solve["rows"][0]["mu_used"], solve["rows"][0]["model"]) == (0, "a small one")
    assert solve["rows"][2]["mu_used"] > 0  # more facts than inputs: equality cannot be had
    assert {"date", "processor", "cores"} <= set(solve["environment"])
    statistic = json.loads((place / "statistic.json").read_text())
    assert (statistic["layer"], statistic["d_in"], statistic["tokens"]) == (1, 48, 1024)
    assert "μ used" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"), [(["sovle"], "no benchmark 'sovle'; known: values, solve"), (["values"], "needs --facts")]
)
def test_what_cannot_be_run_is_told(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmarks.main(arguments)
    assert says in capsys.readouterr().err


def test_help_lists_the_benchmarks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmarks.main(["--help"])
    told = capsys.readouterr().out
    for name, benchmark in benchmarks.BENCHMARKS.items():
        assert f"{name:15} {benchmark.summary}" in told
