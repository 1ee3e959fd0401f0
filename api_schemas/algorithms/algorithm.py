"""What a method is: a name, a paper and settings over the one solve (see `editing.solve`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SettingValue = float | int | str | bool | tuple[int, ...] | None


@dataclass(frozen=True)
class Algorithm:
    """`defaults` are the method's own settings; `presets` name complete sets from the literature.

    `batch_limit` is how many distinct subjects one solve may take (ROME: one); None is any number. With `one_layer`
    the default is the last of the model's recommended layers alone, where values are optimised.
    """

    name: str
    title: str
    summary: str
    paper: str
    defaults: Mapping[str, SettingValue] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, SettingValue]] = field(default_factory=dict)
    batch_limit: int | None = None
    one_layer: bool = False
