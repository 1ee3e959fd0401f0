"""The C0 statistics of this worker's model by layer: built when first needed, kept on disk and in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from editing.covariance.corpus import SelfSampled, held_out_sequences
from editing.covariance.statistic import Statistic
from editing.covariance.statistics_store import (
    StatisticSpec,
    has_statistic,
    keep_statistic,
    prepare_statistics,
    read_statistic,
)
from editing.inventory import prepared_statistics
from editing.methods import recommended_layers
from editing.model.loading import LoadedModel
from editing.model.token_sequences import TokenSequences
from editing.progress import ProgressCallback, ShouldStop, never, silent
from workers.statistics.shared import SharedStatistics


@dataclass(frozen=True)
class StatisticOrigin:
    """What tells the statistics of one layer of a model apart, as an edit's provenance keeps it."""

    corpus: str
    tokens: int
    shrinkage: float

    @classmethod
    def of(cls, statistic: Statistic) -> StatisticOrigin:
        return cls(statistic.corpus, statistic.tokens, statistic.shrinkage)


class LayerStatistics:
    """Statistics by layer, and the held-out text that drift is measured on. Safe between threads."""

    def __init__(
        self,
        model: LoadedModel,
        data: Path,
        spec: StatisticSpec | None = None,
        shared: SharedStatistics | None = None,
    ) -> None:
        self.spec = spec or StatisticSpec(SelfSampled())
        self._model = model
        self._shared = shared
        self._folder = data / "statistics"
        self._loaded: dict[int, Statistic] = {}
        self._text: TokenSequences | None = None
        self._lock = threading.Lock()

    def default_layers(self) -> tuple[int, ...]:
        """The layers that an edit with default settings changes."""
        return recommended_layers(self._model.shape)

    def get(
        self, layers: tuple[int, ...], on_progress: ProgressCallback = silent, should_stop: ShouldStop = never
    ) -> dict[int, Statistic]:
        """The statistics of `layers`, those missing built in one pass. Raises EditInterrupted or StatisticError."""
        with self._lock:
            missing = [layer for layer in layers if layer not in self._loaded]
            if missing:
                self._fetch(missing, self.spec)
                self._loaded |= prepare_statistics(
                    self._model,
                    missing,
                    self.spec,
                    self._folder,
                    on_progress=on_progress,
                    should_stop=should_stop,
                )
            return {layer: self._loaded[layer] for layer in layers}

    def with_origin(self, layer: int, origin: StatisticOrigin) -> Statistic | None:
        """The statistic of `layer` that was made from the text that `origin` names, if the data folder holds it,
        whatever is configured."""
        with self._lock:
            loaded = self._loaded.get(layer)
            if loaded is not None and StatisticOrigin.of(loaded) == origin:
                return loaded
        known = (self._model.fingerprint, layer, origin)
        for prepared in prepared_statistics(self._folder):
            if (
                prepared.fingerprint,
                prepared.layer,
                StatisticOrigin(prepared.corpus, prepared.tokens, prepared.shrinkage),
            ) == known:
                return read_statistic(prepared.file, self._model.decoder.device)
        return None

    def prepare(
        self,
        layers: tuple[int, ...],
        spec: StatisticSpec,
        on_progress: ProgressCallback = silent,
        should_stop: ShouldStop = never,
    ) -> dict[int, Statistic]:
        """The statistics of `layers` made as `spec` says, built where they are not kept on disk yet."""
        if spec == self.spec:
            return self.get(layers, on_progress, should_stop)
        self._fetch(layers, spec)
        return prepare_statistics(
            self._model, layers, spec, self._folder, on_progress=on_progress, should_stop=should_stop
        )

    def share(self, made: dict[int, Statistic], spec: StatisticSpec) -> dict[str, str]:
        """Let other workers have these; by key, the names of their blobs."""
        return {} if self._shared is None else self._shared.share(made, spec)

    def _fetch(self, layers: Sequence[int], spec: StatisticSpec) -> None:
        """Keep what another worker made of what this one has not, so that it need not be made again."""
        if self._shared is None:
            return
        for layer in layers:
            if not has_statistic(self._model, layer, spec, self._folder):
                shared = self._shared.find(layer, spec)
                if shared is not None:
                    keep_statistic(self._model, layer, spec, self._folder, shared)

    def held_out(self, on_progress: ProgressCallback = silent, should_stop: ShouldStop = never) -> TokenSequences:
        """Text of the same kind as C0's that no statistic was made from."""
        with self._lock:
            if self._text is None:
                self._text = held_out_sequences(
                    self.spec.corpus,
                    self._model,
                    self._folder,
                    on_progress=on_progress,
                    should_stop=should_stop,
                )
            return self._text
