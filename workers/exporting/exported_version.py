"""What every format is given of the version that it writes, and the error where the format cannot hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from editing.errors import EditingError
from editing.model.loading import LoadedModel
from editing.progress import ShouldStop
from workers.weights.deltas import LayerDelta


class FormatError(EditingError):
    """The model, or the files that it was loaded from, cannot be written in this format; the message says what fits."""

    code = "export_format_unsupported"


@dataclass(frozen=True)
class ExportedVersion:
    """`matrices` and `deltas` (of the lineage, eldest first) are read when a format asks, since none needs both.

    `max_rank` bounds an adapter's rank, where the format takes a bound. `about` is told in every file.
    """

    model: LoadedModel
    name: str
    about: Mapping[str, Any]
    matrices: Callable[[], Mapping[int, Tensor]]
    deltas: Callable[[], Iterable[Mapping[int, LayerDelta]]]
    max_rank: int
    should_stop: ShouldStop

    @property
    def base(self) -> str:
        """The base as people know it: its hub id, or the name of its folder."""
        return base_name(self.model)

    def named_matrices(self) -> dict[str, Tensor]:
        """The edited matrices under their names in the model's own state dict."""
        decoder = self.model.decoder
        return {f"{decoder.projection_name(layer)}.weight": matrix for layer, matrix in sorted(self.matrices().items())}


def base_name(model: LoadedModel) -> str:
    return model.source.get("hub_id") or model.folder.resolve().name
