"""Each method's metric S is the one that its row names."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from editing.covariance.key_metric import KeyMetric
from editing.covariance.method_metric import inverse_second_moment, key_metrics
from editing.covariance.statistic import Statistic, make_statistic
from editing.methods import ALGORITHMS, EditSettings

D_IN = 6
SETTINGS = EditSettings(layers=(1, 3), mu=0.5, null_space_threshold=0.9)
asked: list[tuple[int, EditSettings, Tensor | None]] = []


def observed(statistic: Statistic, settings: EditSettings, past_keys: Tensor | None) -> KeyMetric:
    asked.append((statistic.layer, settings, past_keys))
    return inverse_second_moment(statistic, settings, past_keys)


def statistics() -> dict[int, Statistic]:
    found = {}
    for layer in SETTINGS.layers:
        text = torch.randn(D_IN, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(layer))
        found[layer] = make_statistic(text @ text.T / 50, layer=layer, tokens=50, corpus="random", fingerprint="f")
    return found


@pytest.mark.parametrize("name", ["emmet", "memit", "rome"])
def test_the_papers_metric_is_the_inverse_of_c(name: str) -> None:
    of_layers = statistics()
    found = key_metrics(ALGORITHMS[name], of_layers, SETTINGS)
    assert list(found) == [1, 3]
    for layer, metric in found.items():
        F = metric.whiten(torch.eye(D_IN, dtype=torch.float64)).T
        torch.testing.assert_close(F @ F.T, torch.linalg.inv(of_layers[layer].C))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_row_names_a_metric_that_is_there(name: str) -> None:
    for metric in key_metrics(ALGORITHMS[name], statistics(), SETTINGS, {3: torch.eye(D_IN).double()}).values():
        keys = torch.randn(D_IN, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        K = metric.whiten(keys)
        assert K.shape == (metric.rank, 2)
        torch.testing.assert_close(metric.unwhiten(K.T) @ keys, K.T @ K)  # KᵀS K = (FᵀK)ᵀ (FᵀK)


def test_a_metric_is_made_of_c0_settings_and_the_keys_of_its_layer() -> None:
    asked.clear()
    row = replace(ALGORITHMS["emmet"], metric=f"{__name__}:observed")
    past = torch.ones(D_IN, 2, dtype=torch.float64)
    key_metrics(row, statistics(), SETTINGS, {3: past})
    assert asked == [(1, SETTINGS, None), (3, SETTINGS, past)]
