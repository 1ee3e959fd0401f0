"""What a method is: a name, a paper, a metric S and settings over the one solve (see `editing.solve.closed_form`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SettingValue = float | int | str | bool | tuple[int, ...] | tuple[str, ...] | None

INVERSE_SECOND_MOMENT: Final = "editing.covariance.method_metric:inverse_second_moment"
"""S = C⁻¹."""


@dataclass(frozen=True)
class ModelShape:
    """What a model is recognised by, whatever its name: its family, number of layers and the MLP's inner width."""

    model_type: str
    n_layers: int
    d_in: int


@dataclass(frozen=True)
class Algorithm:
    """`defaults` are the method's own settings, `per_model` those on one model; `presets` name sets to start from.

    `batch_limit` is how many distinct subjects one solve may take (ROME: one); None is any number. With `one_layer`
    the default is the last of the model's recommended layers alone, where values are optimised.

    `metric` names the function that makes the method's S, as "module:function"
    (`editing.covariance.method_metric.MetricFactory`): rows stand below PyTorch, what computes S does not. With
    `uses_past_keys` that function wants the keys of the lineage's earlier facts, whatever the setting `protect` says.
    """

    name: str
    title: str
    summary: str
    paper: str
    defaults: Mapping[str, SettingValue] = field(default_factory=dict)
    per_model: Mapping[ModelShape, Mapping[str, SettingValue]] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, SettingValue]] = field(default_factory=dict)
    batch_limit: int | None = None
    one_layer: bool = False
    metric: str = INVERSE_SECOND_MOMENT
    uses_past_keys: bool = False
