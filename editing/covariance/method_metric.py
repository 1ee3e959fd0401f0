"""The metric S that a method names, layer by layer.

A method's row (`editing.methods`) is read by the front end, which has no PyTorch, so it names its S as
"module:function": a `MetricFactory`, found here when a worker solves.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from editing.covariance.key_metric import InverseSecondMoment, KeyMetric
from editing.covariance.null_space import null_space_metric
from editing.covariance.protected import WithPastKeys
from editing.covariance.statistic import Statistic
from editing.methods import Algorithm, EditSettings


class MetricFactory(Protocol):
    """S of one layer, from its C0, the batch's settings and the keys (d_in, n), float64, of the facts in force in the
    lineage, where these were collected."""

    def __call__(self, statistic: Statistic, settings: EditSettings, past_keys: Tensor | None) -> KeyMetric: ...


def inverse_second_moment(
    statistic: Statistic, settings: EditSettings, past_keys: Tensor | None
) -> InverseSecondMoment:
    """S = C⁻¹: ROME's, MEMIT's and EMMET's, whatever was edited before; with a ridge (C + γI)⁻¹."""
    if not settings.ridge:
        return InverseSecondMoment(statistic.factor)
    ridged = statistic.C.clone()
    ridged.diagonal().add_(settings.ridge * float(statistic.C.diagonal().mean()))
    return InverseSecondMoment(torch.linalg.cholesky(ridged))


def null_space(statistic: Statistic, settings: EditSettings, past_keys: Tensor | None) -> KeyMetric:
    """AlphaEdit's S."""
    return null_space_metric(statistic, settings.null_space_threshold, settings.alpha, past_keys)


def wants_past_keys(algorithm: Algorithm, settings: EditSettings) -> bool:
    """Whether a batch is solved beside the keys of the lineage's earlier facts."""
    return algorithm.uses_past_keys or settings.protect != "none"


def key_metrics(
    algorithm: Algorithm,
    statistics: Mapping[int, Statistic],
    settings: EditSettings,
    past_keys: Mapping[int, Tensor] | None = None,
) -> dict[int, KeyMetric]:
    """The method's S of each layer in `statistics`; `past_keys` (d_in, n) by layer, any float dtype.

    Past keys are part of the metric of a method that uses them; beside another they are protected as `settings` say.
    """
    factory: MetricFactory = pkgutil.resolve_name(algorithm.metric)
    known = past_keys or {}
    metrics = {layer: factory(statistic, settings, known.get(layer)) for layer, statistic in statistics.items()}
    if algorithm.uses_past_keys or settings.protect == "none":
        return metrics
    weight = settings.protect_weight if settings.protect == "weighted" else None
    return {
        layer: WithPastKeys(metric, known[layer], weight) if layer in known and known[layer].shape[1] else metric
        for layer, metric in metrics.items()
    }
