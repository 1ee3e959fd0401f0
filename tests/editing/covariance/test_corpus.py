"""Ordinary text as token rows: sampled from the model, or read from files; kept, and held out."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
import torch

from editing.covariance.corpus import SelfSampled, corpus_sequences, held_out_sequences
from editing.covariance.text_corpora import TextFile, documents
from editing.errors import CorpusError, EditInterrupted
from editing.model.loading import LoadedModel
from editing.progress import ShouldStop, never
from tests.support.tiny_loaded import load_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny(tmp_path_factory.mktemp("models"))


def take(corpus: SelfSampled, model: LoadedModel, tokens: int, held_out: bool = False) -> list[list[int]]:
    return [list(row) for row in corpus.sequences(model, tokens, held_out, never)]


def test_sampled_rows_begin_with_bos_and_are_the_same_for_a_seed(model: LoadedModel) -> None:
    corpus = SelfSampled(seed=1, length=12, batch=8)
    rows = take(corpus, model, 150)
    assert sum(map(len, rows)) >= 150
    assert all(row[0] == 0 and 2 <= len(row) <= 12 for row in rows)
    assert all(1 not in row[:-1] for row in rows)  # </s> ends a row
    assert rows == take(corpus, model, 150)
    assert rows != take(SelfSampled(seed=2, length=12, batch=8), model, 150)
    assert rows != take(corpus, model, 150, held_out=True)
    assert corpus.name != SelfSampled(seed=2, length=12, batch=8).name


def test_text_is_sampled_at_temperature_one_from_the_whole_vocabulary(model: LoadedModel) -> None:
    rows = take(SelfSampled(length=2, batch=1200), model, 4000)
    second = Counter(row[1] for row in rows)
    with torch.no_grad():
        expected = model.decoder.model(torch.tensor([[0]])).logits[0, -1].softmax(-1)
    n = len(rows)
    common = expected.topk(8)
    for token, share in zip(common.indices.tolist(), common.values.tolist(), strict=True):
        assert abs(second[token] / n - share) < 4 * (share * (1 - share) / n) ** 0.5
    rare = float(expected[expected < 0.002].sum())
    assert sum(second[token] for token in range(len(expected)) if expected[token] < 0.002) / n > rare / 2


def test_rows_are_kept_and_found_again_without_sampling(model: LoadedModel, tmp_path: Path) -> None:
    corpus = SelfSampled(length=12, batch=8)
    stages: list[tuple[str, int, int]] = []
    first = corpus_sequences(corpus, model, 100, tmp_path, on_progress=lambda *at: stages.append(at))
    assert first.tokens == 100
    assert stages[-1] == ("text", 100, 100)

    def stop() -> bool:
        raise AssertionError("nothing is to be done")

    again = corpus_sequences(corpus, model, 100, tmp_path, should_stop=stop)
    assert torch.equal(first.flat, again.flat)
    assert torch.equal(first.lengths, again.lengths)
    apart = held_out_sequences(corpus, model, tmp_path, tokens=50)
    assert apart.tokens == 50
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


@dataclass(frozen=True)
class Endless:
    """Rows of tokens that Python keeps no numbers ready for."""

    name: str = "endless"

    def sequences(self, *_: object) -> Iterator[Sequence[int]]:
        while True:
            yield list(range(1000, 1250))


def test_a_long_text_takes_few_bytes_a_token(model: LoadedModel, tmp_path: Path) -> None:
    """Python's own lists take 36."""
    tokens = 300_000
    tracemalloc.start()
    rows = corpus_sequences(Endless(), model, tokens, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows.tokens == tokens
    assert (rows.flat.dtype, rows.lengths.dtype) == (torch.int32, torch.int32)
    assert peak < 16 * tokens


def test_an_interrupted_sampling_keeps_nothing(model: LoadedModel, tmp_path: Path) -> None:
    calls: list[int] = []

    def stop() -> bool:
        calls.append(1)
        return len(calls) > 5

    with pytest.raises(EditInterrupted):
        corpus_sequences(SelfSampled(length=30, batch=4), model, 1000, tmp_path, should_stop=stop)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_an_interrupted_sampling_goes_on_from_its_last_round_with_the_same_text(
    model: LoadedModel, tmp_path: Path
) -> None:
    corpus = SelfSampled(length=12, batch=4)
    calls: list[int] = []
    found: list[int] = []

    def steps(until: int | None = None) -> ShouldStop:
        calls.clear()

        def should_stop() -> bool:
            calls.append(1)
            return until is not None and len(calls) > until

        return should_stop

    whole = corpus_sequences(corpus, model, 400, tmp_path / "whole", should_stop=steps())
    all_steps = len(calls)
    for _ in range(2):
        with pytest.raises(EditInterrupted):
            corpus_sequences(corpus, model, 400, tmp_path / "cut", should_stop=steps(all_steps // 3))
    resumed = corpus_sequences(
        corpus, model, 400, tmp_path / "cut", should_stop=steps(), on_progress=lambda _, done, __: found.append(done)
    )

    assert len(calls) < all_steps, "what was sampled is not sampled again"
    assert found[-1] == 400
    assert torch.equal(resumed.flat, whole.flat)
    assert torch.equal(resumed.lengths, whole.lengths)
    names = [[path.name for path in folder.glob("*.safetensors")] for folder in (tmp_path / "cut", tmp_path / "whole")]
    assert names[0] == names[1]
    assert len(names[0]) == 1


def test_a_corpus_without_text_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Nothing:
        name: str = "nothing"

        def sequences(
            self, model: LoadedModel, tokens: int, held_out: bool, should_stop: ShouldStop
        ) -> Iterator[Sequence[int]]:
            return iter(())

    with pytest.raises(CorpusError, match="corpus nothing holds no text to hold out"):
        held_out_sequences(Nothing(), model, tmp_path)


def write_jsonl(path: Path, texts: list[str], field: str = "text") -> Path:
    path.write_text("\n".join(json.dumps({field: text}) for text in texts) + "\n\n", encoding="utf-8")
    return path


def test_a_jsonl_file_gives_its_documents_in_rows_every_tenth_held_out(model: LoadedModel, tmp_path: Path) -> None:
    texts = [f"Lyon is located in France {number}" for number in range(20)]
    corpus = TextFile(write_jsonl(tmp_path / "a.jsonl", texts), length=4)

    def text_of(held_out: bool) -> list[str]:
        rows = list(corpus.sequences(model, 10_000, held_out, never))
        assert all(1 <= len(row) <= 4 for row in rows)
        return [model.backend_tokenizer.decode([token for row in rows for token in row])]

    assert text_of(True) == [texts[9] + texts[19]]
    assert text_of(False) == ["".join(text for number, text in enumerate(texts) if number not in (9, 19))]


def test_a_corpus_is_known_by_content_and_settings(tmp_path: Path) -> None:
    first = write_jsonl(tmp_path / "a.jsonl", ["one", "two"])
    name = TextFile(first).name
    (tmp_path / "copy").mkdir()
    assert TextFile(write_jsonl(tmp_path / "copy" / "a.jsonl", ["one", "two"])).name == name
    assert TextFile(first, field="body").name != name
    assert TextFile(write_jsonl(first, ["one", "six"])).name != name
    with pytest.raises(CorpusError, match=r"missing\.txt' cannot be read: No such file"):
        assert TextFile(tmp_path / "missing.txt").name


def test_plain_text_is_cut_between_paragraphs(tmp_path: Path) -> None:
    paragraph = "word " * 100 + "\n"
    path = tmp_path / "wiki.txt"
    path.write_text(f"{paragraph}\n" * 12, encoding="utf-8")
    pages = list(documents(path, "text"))
    assert "".join(pages) == path.read_text()
    assert [page.count("word") for page in pages] == [400, 400, 400]


def test_a_bad_record_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "good"}\n["no object"]\n')
    with pytest.raises(CorpusError, match=r"bad.jsonl', line 2: no JSON object with a field 'text'"):
        list(documents(path, "text"))
    path = tmp_path / "latin.txt"
    path.write_bytes("café".encode("latin-1"))
    with pytest.raises(CorpusError, match="cannot be read as UTF-8"):
        list(documents(path, "text"))


def test_parquet_is_read_where_its_package_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["one", None, " ", "two"], "id": [1, 2, 3, 4]}), path)
    assert list(documents(path, "text")) == ["one", "two"]
    with pytest.raises(CorpusError, match="no column 'body'; it has text, id"):
        list(islice(documents(path, "body"), 1))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)  # as where it is not installed
    with pytest.raises(CorpusError, match="needs the package pyarrow"):
        list(documents(path, "text"))
