"""The metric S that a method names, layer by layer.

A method's row (`editing.methods`) is read by the front end, which has no PyTorch, so it names its S as
"module:function": a `MetricFactory`, found here when a worker solves.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from editing.covariance.key_metric import InverseSecondMoment, KeyMetric
from editing.covariance.statistic import Statistic
from editing.methods import Algorithm, EditSettings


class MetricFactory(Protocol):
    """S of one layer, from its C0, the batch's settings and the keys (d_in, n), float64, of the facts in force in the
    lineage, where these were collected."""

    def __call__(self, statistic: Statistic, settings: EditSettings, past_keys: Tensor | None) -> KeyMetric: ...


def inverse_second_moment(
    statistic: Statistic, settings: EditSettings, past_keys: Tensor | None
) -> InverseSecondMoment:
    """S = C⁻¹: ROME's, MEMIT's and EMMET's, whatever was edited before."""
    return InverseSecondMoment(statistic.factor)


def key_metrics(
    algorithm: Algorithm,
    statistics: Mapping[int, Statistic],
    settings: EditSettings,
    past_keys: Mapping[int, Tensor] | None = None,
) -> dict[int, KeyMetric]:
    """The method's S of each layer in `statistics`; `past_keys` (d_in, n) by layer, float64."""
    factory: MetricFactory = pkgutil.resolve_name(algorithm.metric)
    known = past_keys or {}
    return {layer: factory(statistic, settings, known.get(layer)) for layer, statistic in statistics.items()}
