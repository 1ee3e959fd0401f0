"""C0 from published second moments: equal to that of the text they are of; what does not belong is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from editing.covariance.accumulation import key_moments
from editing.covariance.corpus import SelfSampled, corpus_sequences, held_out_sequences
from editing.covariance.published_moments import PublishedMoments
from editing.covariance.statistics_store import StatisticSpec, prepare_statistics
from editing.errors import CorpusError, StatisticError
from editing.model.loading import LoadedModel
from tests.support.tiny_loaded import load_tiny

LAYER = 2
TEXT = SelfSampled()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where sampled text is kept, for all tests."""
    return tmp_path_factory.mktemp("statistics")


@pytest.fixture(scope="module")
def sums(model: LoadedModel, kept: Path) -> dict[int, tuple[np.ndarray, int]]:
    """Σ k kᵀ and n of two layers."""
    rows = corpus_sequences(TEXT, model, 2000, kept)
    found = key_moments(model.decoder, [1, LAYER], rows)
    return {layer: (found.sums[layer].numpy(), found.tokens) for layer in (1, LAYER)}


Folder = Callable[..., Path]


@pytest.fixture
def folder(sums: dict[int, tuple[np.ndarray, int]], tmp_path: Path) -> Folder:
    """A folder as the authors publish it, with what is said otherwise of it."""

    def made(layer: int = LAYER, **arrays: Any) -> Path:
        total, count = sums[layer]
        place = tmp_path / "published"
        place.mkdir()
        file = place / f"model.layers.{LAYER}.mlp.down_proj_float32_mom2_2000.npz"
        np.savez(file, **{"mom2.mom2": total.astype("float32"), "mom2.count": count, "sample_size": 2000, **arrays})
        return place

    return made


def read(model: LoadedModel, place: Path, kept: Path, layers: tuple[int, ...] = (LAYER,)) -> Any:
    return prepare_statistics(model, layers, StatisticSpec(PublishedMoments(place)), kept)


def test_it_is_the_statistic_of_the_text_that_it_was_made_of(
    model: LoadedModel, kept: Path, sums: dict[int, tuple[np.ndarray, int]], folder: Folder
) -> None:
    place = folder()
    found = read(model, place, kept)[LAYER]
    of_text = prepare_statistics(model, [LAYER], StatisticSpec(TEXT, 2000, found.shrinkage), kept)[LAYER]
    torch.testing.assert_close(found.C, of_text.C, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.factor @ found.factor.T, found.C)
    assert (found.tokens, found.corpus) == (sums[LAYER][1], PublishedMoments(place).name)


def test_a_safetensors_file_serves_as_well(
    model: LoadedModel, kept: Path, sums: dict[int, tuple[np.ndarray, int]], folder: Folder, tmp_path: Path
) -> None:
    total, count = sums[LAYER]
    other = tmp_path / "other"
    other.mkdir()
    arrays = {"mom2": torch.from_numpy(total), "count": torch.tensor(count)}
    save_file(arrays, other / f"model.layers.{LAYER}.mlp.down_proj.safetensors")
    found = PublishedMoments(other).moment(model, LAYER)
    expected = PublishedMoments(folder()).moment(model, LAYER)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-7)
    assert found[1] == expected[1]


def test_drift_is_measured_on_the_models_own_text(model: LoadedModel, kept: Path, folder: Folder) -> None:
    corpus = PublishedMoments(folder())
    assert torch.equal(
        held_out_sequences(corpus, model, kept).flat,
        held_out_sequences(TEXT, model, kept).flat,
    )
    with pytest.raises(CorpusError, match="no text to sum up"):
        corpus.sequences(model, 100, False, lambda: False)


def test_another_layers_is_refused(model: LoadedModel, kept: Path, folder: Folder) -> None:
    with pytest.raises(StatisticError, match=r"not that of this model's layer 2.*another model or layer\?"):
        read(model, folder(layer=1), kept)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"mom2.count": 1}, "times the model's own.*a sum without its count"),
        ({"mom2.count": 0}, "counts 0 keys"),
        ({"mom2.mom2": np.eye(3)}, r"a matrix of \(3, 3\); the layer's is \(48, 48\)"),
        ({"mom2.mom2": np.full((48, 48), np.nan)}, "not finite"),
        ({"mom2.mom2": np.triu(np.ones((48, 48)))}, "not symmetric"),
        ({"mom2.mom2": np.array([{"a": 1}], dtype=object)}, "cannot be read.*pickle"),
        ({"mom2.mom2": np.zeros((2000, 2000), "float32")}, "cannot be read.*unpacks to|bytes; a second moment"),
    ],
)
def test_what_is_no_second_moment_of_this_layer_is_refused(
    model: LoadedModel, kept: Path, folder: Folder, arrays: dict[str, Any], told: str
) -> None:
    with pytest.raises(StatisticError, match=told):
        read(model, folder(**arrays), kept)


def test_files_that_are_missing_or_broken_are_named(model: LoadedModel, kept: Path, folder: Folder) -> None:
    place = folder()
    with pytest.raises(StatisticError, match=r"no file model\.layers\.3\.mlp\.down_proj_\*"):
        read(model, place, kept, (3,))
    (file,) = place.iterdir()
    file.write_bytes(b"PK nothing")
    with pytest.raises(StatisticError, match="cannot be read"):
        read(model, place, kept)
    file.unlink()
    with pytest.raises(CorpusError, match="holds no second moments"):
        read(model, place, kept)


def test_other_content_is_another_corpus(folder: Folder) -> None:
    place = folder()
    corpus = PublishedMoments(place)
    before = corpus.name
    assert PublishedMoments(place).name == before
    (file,) = place.iterdir()
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(b"x")
    assert corpus.name != before
