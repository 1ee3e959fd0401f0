"""Corpora that the operator names: how they are written, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from configuration.corpus_settings import CorpusDataSet, CorpusFile, CorpusMoments, read_corpus
from configuration.errors import InvalidSettingError
from configuration.settings import load_settings

WIKI = "hf://datasets/Salesforce/wikitext@c0ffee/wikitext-2-raw-v1/train-*.parquet"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("EMMETD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)


def test_files_and_data_sets_are_told_apart(tmp_path: Path) -> None:
    assert read_corpus("notes.txt") == CorpusFile(tmp_path / "notes.txt", "text")
    assert read_corpus("/srv/a b#1.jsonl#field=body") == CorpusFile(Path("/srv/a b#1.jsonl"), "body")
    files = "wikitext-2-raw-v1/train-*.parquet"
    assert read_corpus(WIKI) == CorpusDataSet("Salesforce/wikitext", "c0ffee", files, "text")
    short = CorpusDataSet("a/b", "v1", "*train*.parquet", "content")
    assert read_corpus("hf://datasets/a/b@v1#field=content") == short
    assert read_corpus("moments:published") == CorpusMoments(tmp_path / "published")


def test_a_table_in_the_file_and_json_in_a_variable_say_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "emmetd.toml").write_text(
        f'corpus = "wiki"\n[corpora]\nwiki = "{WIKI}"\nnotes = "notes.txt"\nrome = "moments:rome"\n'
    )
    settings = load_settings(data=tmp_path)
    assert settings.corpora == {"wiki": WIKI, "notes": str(tmp_path / "notes.txt"), "rome": f"moments:{tmp_path}/rome"}
    assert (settings.corpus, settings.corpus_names) == ("wiki", ["self", "wiki", "notes", "rome"])
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings().corpora == settings.corpora
    shown = settings.masked()["corpora"]
    assert isinstance(shown, str)
    assert json.loads(shown) == settings.corpora


@pytest.mark.parametrize(
    ("corpora", "words"),
    [
        ("notes.txt", ["EMMETD_CORPORA", "not JSON", '{"NAME"']),
        ('{"My Notes": "/a"}', ["'My Notes' cannot be a corpus's name"]),
        ('{"self": "/a"}', ["'self' cannot be a corpus's name"]),
        ('{"wiki": "hf://datasets/a/b"}', ["wiki: ", "says no revision", "hf://datasets/a/b@COMMIT"]),
        ('{"wiki": "s3://a/b"}', ["wiki: 's3://a/b' is neither a file nor hf://datasets/"]),
        ('{"rome": "moments:"}', ["rome: it names no folder"]),
        ('{"wiki": " "}', ["wiki: it is empty"]),
        ('{"wiki": 3}', ["valid string"]),
    ],
)
def test_a_refusal_says_how_to_write_it(monkeypatch: pytest.MonkeyPatch, corpora: str, words: list[str]) -> None:
    monkeypatch.setenv("EMMETD_CORPORA", corpora)
    with pytest.raises(InvalidSettingError) as refused:
        load_settings()
    (problem,) = refused.value.problems
    assert [word for word in words if word not in problem] == []


def test_the_default_is_one_that_is_configured(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingError, match="corpus = 'wiki' is not among corpora; known: self, notes"):
        load_settings(corpora={"notes": "notes.txt"}, corpus="wiki")
