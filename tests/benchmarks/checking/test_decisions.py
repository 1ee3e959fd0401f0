"""The benchmark of decisions, on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.checking import decisions
from tests.support.saved_models import one_thread, save_tiny_model


def test_decisions_on_a_part_of_the_text_are_held_against_those_on_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny_model(tmp_path / "model")
    with one_thread():
        result = decisions.run(model=str(model), data=tmp_path, batches=8, threshold=1.2)
    assert result["batches"] == len(result["decisions"]) == 8
    wholes = [whole for whole, _, _ in result["decisions"]]
    assert 0 < result["above"] == sum(whole > 1.2 for whole in wholes) < 8
    assert result["differing"] == sum((whole > 1.2) != (part > 1.2) for whole, part, _ in result["decisions"])
    assert result["differing"] <= 1
    for whole, part, texts in result["decisions"]:
        assert 0 < texts <= result["texts"]
        assert (texts < result["texts"]) or part == pytest.approx(whole)
    decisions.show(result)
    assert f"8 batches, {result['above']} above drift 1.2" in capsys.readouterr().out
