"""The context texts of versions: sampled when first asked for, or ahead of the next edit of a line."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from editing.methods import EditSettings
from editing.model.loading import LoadedModel
from editing.values.contexts import Context, sample_contexts
from workers.weights.matrix_cache import MatrixCache

MOST_KEPT: Final = 64
"""Versions and settings whose texts a worker keeps: a few hundred bytes each."""


class ContextTexts:
    """Those sampled lately, by version and what else they depend on. For one thread at a time."""

    def __init__(self, model: LoadedModel, matrices: MatrixCache) -> None:
        self._model = model
        self._matrices = matrices
        self._kept: OrderedDict[tuple[int, int, int, int], tuple[Context, ...]] = OrderedDict()

    def of(self, version: int, settings: EditSettings) -> tuple[Context, ...]:
        """Sampled from `version`. The same seed gives the same texts, kept or not."""
        key = (version, settings.context_texts, settings.context_tokens, settings.seed)
        if key not in self._kept:
            self._kept[key] = sample_contexts(
                self._model.decoder,
                self._matrices.get(version),
                self._model.backend_tokenizer,
                settings.context_texts,
                settings.context_tokens,
                settings.seed,
            )
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]
