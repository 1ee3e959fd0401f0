"""The context that every task of this process works with: RQ calls a plain function, so it is global."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from configuration.settings import Settings
from editing.model.loading import LoadedModel
from store.blobs.blob_store import BlobStore
from store.schema.database import Database
from workers.ahead import Ahead
from workers.context_prefixes import ContextPrefixes
from workers.context_texts import ContextTexts
from workers.generation.traffic import Traffic
from workers.measuring import Measuring
from workers.statistics.layer_statistics import LayerStatistics
from workers.statistics.ordinary_outputs import OrdinaryOutputs
from workers.status import StatusBoard
from workers.weights.matrix_cache import MatrixCache
from workers.weights.past_keys import PastKeys


@dataclass(frozen=True)
class WorkerContext:
    """One loaded model with its C0 statistics, the cache of its versions' matrices, and the ways to SQL and blobs."""

    id: str
    name: str
    settings: Settings
    database: Database
    blobs: BlobStore
    model: LoadedModel
    statistics: LayerStatistics
    matrices: MatrixCache
    past_keys: PastKeys
    measuring: Measuring
    status: StatusBoard
    stopping: threading.Event
    tokens_per_second: float
    """What this machine was measured to optimise: upper-layer tokens a second, forward and backward."""
    ahead: Ahead = field(default_factory=Ahead)
    traffic: Traffic = field(default_factory=Traffic)
    ordinary_outputs: OrdinaryOutputs = field(default_factory=OrdinaryOutputs)
    context_texts: ContextTexts = field(init=False)
    context_prefixes: ContextPrefixes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "context_texts", ContextTexts(self.model, self.matrices))  # it is frozen
        object.__setattr__(self, "context_prefixes", ContextPrefixes(self.model, self.matrices))


_context: WorkerContext | None = None


def set_current(context: WorkerContext) -> None:
    global _context
    _context = context


def current() -> WorkerContext:
    if _context is None:
        raise RuntimeError("no worker context in this process; tasks run inside `emmetd worker`")
    return _context
