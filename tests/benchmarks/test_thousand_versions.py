"""The benchmark of long lines, on a short one."""

from __future__ import annotations

from pathlib import Path

from benchmarks.small_model import names
from benchmarks.thousand_versions import run
from tests.support.saved_models import one_thread


def test_a_short_line_is_measured_and_serves_the_same_after_its_matrices_are_dropped(tmp_path: Path) -> None:
    with one_thread():
        result = run(8, 2, tmp_path)
    dropped, bounds = result["dropped"], result["bounds"]
    assert (result["versions"], result["at"]["last"]["version"]) == (8, 8)
    assert dropped["versions"] > 0
    assert dropped["bytes_freed"] > 0
    assert dropped["older_looked_at"] == dropped["versions"]
    assert bounds["aliases serve the same tokens"]
    assert bounds["older versions are made again"]
    assert bounds["statements of a task do not grow"]


def test_there_are_subjects_for_a_thousand_versions() -> None:
    assert len(set(names())) == len(names()) >= 20_000
