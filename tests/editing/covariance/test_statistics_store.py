"""C0 on disk: built once, found by what it was made from, refused where it does not belong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from editing.covariance.accumulation import key_moments
from editing.covariance.corpus import SelfSampled, corpus_sequences
from editing.covariance.statistic import Statistic
from editing.covariance.statistics_store import (
    StatisticSpec,
    load_statistic,
    prepare_statistics,
    read_statistic,
    write_statistic,
)
from editing.errors import EditInterrupted, FingerprintMismatchError, StatisticError
from editing.model.loading import LoadedModel
from tests.support import plain
from tests.support.tiny_loaded import load_tiny
from tests.support.tiny_models import tiny_model

CORPUS = SelfSampled(length=16, batch=64)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny(tmp_path_factory.mktemp("models"))


def unbuildable() -> bool:
    raise AssertionError("nothing is to be built")


def statistics(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("layer-"))


def test_a_statistic_is_that_of_its_text_and_is_found_again(model: LoadedModel, tmp_path: Path) -> None:
    request = StatisticSpec(CORPUS)
    stages: list[str] = []
    built = prepare_statistics(
        model, [0, 2], request, tmp_path, on_progress=lambda stage, done, total: stages.append(stage)
    )
    assert list(dict.fromkeys(stages)) == ["text", "statistic", "factor"]
    rows = corpus_sequences(CORPUS, model, 480, tmp_path, should_stop=unbuildable)
    for layer, statistic in built.items():
        assert (statistic.tokens, statistic.layer, statistic.fingerprint) == (480, layer, model.fingerprint)
        keys = plain.keys(tiny_model("llama"), layer, [row.tolist() for row in rows.sequences()])
        expected = keys.T @ keys / 480
        added = statistic.shrinkage * float(expected.diagonal().mean())
        torch.testing.assert_close(statistic.C, expected + added * torch.eye(48).double(), rtol=1e-5, atol=1e-6)
    again = prepare_statistics(model, [2, 0], request, tmp_path, should_stop=unbuildable)
    for layer in (0, 2):
        assert torch.equal(again[layer].C, built[layer].C)
        assert torch.equal(again[layer].factor, built[layer].factor)
        assert replace(again[layer], C=built[layer].C, factor=built[layer].factor) == built[layer]
    assert not list(tmp_path.glob("sums-*"))


def test_another_request_is_another_statistic(model: LoadedModel, tmp_path: Path) -> None:
    requests = [
        StatisticSpec(CORPUS, tokens=200),
        StatisticSpec(CORPUS, tokens=250),
        StatisticSpec(CORPUS, tokens=200, skip_first=1),
        StatisticSpec(CORPUS, tokens=200, shrinkage=1e-2),
        StatisticSpec(SelfSampled(seed=1, length=16, batch=64), tokens=200),
    ]
    built = [prepare_statistics(model, [1], request, tmp_path)[1] for request in requests]
    assert len(statistics(tmp_path)) == len(requests)
    assert len({float(statistic.C.sum()) for statistic in built}) == len(requests)
    assert built[2].tokens < built[0].tokens
    assert built[2].corpus.endswith("without each row's first 1 tokens")


def test_an_interrupted_build_goes_on(model: LoadedModel, tmp_path: Path) -> None:
    long = SelfSampled(length=48, batch=240)
    request = StatisticSpec(long, tokens=9_000)
    rows = corpus_sequences(long, model, 9_000, tmp_path)
    sums: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "statistic":
            sums.append(done)

    with pytest.raises(EditInterrupted):
        prepare_statistics(model, [0, 1], request, tmp_path, on_progress=progress, should_stop=lambda: len(sums) == 2)
    assert len(list(tmp_path.glob("sums-*.safetensors"))) == 1
    assert not statistics(tmp_path)
    first = list(sums)
    sums.clear()
    resumed = prepare_statistics(model, [0, 1], request, tmp_path, on_progress=progress)
    assert sums[0] > first[-1]
    whole = key_moments(model.decoder, [0, 1], rows)
    assert torch.equal(resumed[0].C, whole.moment(0))
    assert not list(tmp_path.glob("sums-*.safetensors"))


@pytest.mark.parametrize("asked_again", [[0, 1, 2], [2], [1, 2]])
def test_a_build_that_was_killed_between_two_layers_goes_on_from_its_sums(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_again: list[int]
) -> None:
    request = StatisticSpec(SelfSampled(length=48, batch=240), tokens=9_000)
    sums: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "statistic":
            sums.append(done)

    def dying(statistic: Statistic, file: Path) -> None:
        if statistics(tmp_path):
            raise KeyboardInterrupt
        write_statistic(statistic, file)

    with monkeypatch.context() as patched:
        patched.setattr("editing.covariance.accumulation._SAVE_SECONDS", -1.0)
        patched.setattr("editing.covariance.statistics_store.write_statistic", dying)
        with pytest.raises(KeyboardInterrupt):
            prepare_statistics(model, [0, 1, 2], request, tmp_path)
    assert len(statistics(tmp_path)) == 1

    built = prepare_statistics(model, asked_again, request, tmp_path, on_progress=progress)

    assert sums == []
    assert set(built) == set(asked_again)
    whole = key_moments(model.decoder, [2], corpus_sequences(request.corpus, model, 9_000, tmp_path))
    assert torch.equal(built[2].C, whole.moment(2))
    prepare_statistics(model, [0, 1, 2], request, tmp_path, on_progress=progress)
    assert sums == []
    assert not list(tmp_path.glob("sums-*"))


def test_a_statistic_of_other_weights_is_not_used(model: LoadedModel, tmp_path: Path) -> None:
    request = StatisticSpec(CORPUS, tokens=200)
    built = prepare_statistics(model, [1], request, tmp_path)[1]
    other = replace(model, fingerprint="0" * 64)
    assert load_statistic(other, 1, request, tmp_path) is None
    (file,) = tmp_path.glob("layer-*.safetensors")
    write_statistic(replace(built, fingerprint="1" * 64), file)  # as if a file were put in another's place
    with pytest.raises(FingerprintMismatchError):
        load_statistic(model, 1, request, tmp_path)
    write_statistic(replace(built, layer=2), file)
    with pytest.raises(StatisticError, match="layer 1's is needed"):
        load_statistic(model, 1, request, tmp_path)


def test_a_broken_file_is_named(model: LoadedModel, tmp_path: Path) -> None:
    request = StatisticSpec(CORPUS, tokens=200)
    prepare_statistics(model, [1], request, tmp_path)
    (file,) = tmp_path.glob("layer-*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StatisticError, match="remove it to build it again"):
        load_statistic(model, 1, request, tmp_path)
    file.write_bytes(whole.replace(b"emmetd-statistic-1", b"emmetd-statistic-0"))
    with pytest.raises(StatisticError, match="no statistic of this version"):
        read_statistic(file)


def test_a_layer_that_does_not_exist_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(StatisticError, match=r"layers \[4\] do not exist; the model has layers 0 to 3"):
        prepare_statistics(model, [1, 4], StatisticSpec(CORPUS), tmp_path)
