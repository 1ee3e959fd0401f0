"""What every optimisation of values on a version begins with: its context texts and chat openings, run once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from editing.model.loading import LoadedModel
from editing.model.prefix import Prefix
from editing.values.contexts import Context
from editing.values.lower_run import context_prefix
from workers.weights.matrix_cache import MatrixCache

MOST_BYTES: Final = 64 * 1024**2
"""A prefix that takes more is not kept: a few megabytes for small models, a hundred or two for one of 7B."""

_Key = tuple[int, tuple[tuple[int, ...], ...]]


class ContextPrefixes:
    """The one made last, by version and tokens: shards of a batch, and batches on one version, ask for it again and
    again. For one thread at a time."""

    def __init__(self, model: LoadedModel, matrices: MatrixCache) -> None:
        self._model = model
        self._matrices = matrices
        self._kept: tuple[_Key, Prefix] | None = None

    def of(self, version: int, contexts: Sequence[Context]) -> Prefix | None:
        """Of `contexts` in `version`, for all layers; None without contexts."""
        key = (version, tuple(context.tokens for context in contexts))
        if self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        self._kept = None
        decoder = self._model.decoder
        prefix = context_prefix(decoder, self._matrices.get(version), contexts, len(decoder.layers))
        if prefix is not None and _bytes_of(prefix) <= MOST_BYTES:
            self._kept = key, prefix
        return prefix


def _bytes_of(prefix: Prefix) -> int:
    return sum(keys.nbytes + values.nbytes for keys, values in prefix.layers.values())
