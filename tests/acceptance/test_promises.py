"""`python -m tests.acceptance` says what it needs, and every promise has a program behind it."""

from __future__ import annotations

import importlib

import pytest

from tests.acceptance.__main__ import PROMISES
from tests.acceptance.__main__ import main as acceptance


def test_acceptance_names_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        acceptance(["methods_128", "--facts", "facts.jsonl"])
    assert "methods_128 needs --facts FILE and --text FILE" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        acceptance(["speed"])
    assert "no promise 'speed'; known: main_job" in capsys.readouterr().err


@pytest.mark.parametrize("name", PROMISES)
def test_every_promise_has_a_program_that_takes_its_options(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promise = PROMISES[name]
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(promise.module).main()
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for option in ("--output", *(part for part in promise.options if part.startswith("--"))):
        assert option in told
