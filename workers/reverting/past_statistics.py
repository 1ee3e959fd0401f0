"""Finds or rebuilds the C0 that an edit was solved with, whatever corpus is configured when it is reverted."""

from __future__ import annotations

import structlog

from api_schemas.references import version_name
from editing.covariance.corpus import Corpus
from editing.covariance.statistic import Statistic
from editing.covariance.statistics_store import StatisticSpec
from editing.errors import CorpusError, StatisticError
from editing.progress import ProgressCallback, ShouldStop
from workers.context import WorkerContext
from workers.reverting.remaining_edit import RemainingEdit
from workers.statistics.corpora import corpus_named
from workers.statistics.layer_statistics import StatisticOrigin

log = structlog.get_logger(__name__)


def past_statistics(
    context: WorkerContext, remaining: RemainingEdit, on_progress: ProgressCallback, should_stop: ShouldStop
) -> dict[int, Statistic]:
    """The statistics of the edit's layers: found in the data folder, or made again from the same text.

    With another C0 the facts that stay would be met elsewhere in weight space, and what leaves would not be what was
    put in. Raises StatisticError naming the text where it is gone, EditInterrupted.
    """
    recorded = {
        layer: StatisticOrigin(**remaining.version.provenance["statistics"][str(layer)]) for layer in remaining.layers
    }
    statistics = {}
    for layer, origin in recorded.items():
        statistic = context.statistics.with_origin(layer, origin)
        if statistic is None:
            statistic = _rebuilt(context, remaining, layer, origin, on_progress, should_stop)
        statistics[layer] = statistic
    return statistics


def _rebuilt(
    context: WorkerContext,
    remaining: RemainingEdit,
    layer: int,
    origin: StatisticOrigin,
    on_progress: ProgressCallback,
    should_stop: ShouldStop,
) -> Statistic:
    corpus = _configured(context).get(origin.corpus)
    if corpus is not None:
        spec = StatisticSpec(corpus, origin.tokens)
        log.info("making the statistic of an earlier edit again", layer=layer, corpus=corpus.name)
        statistic = context.statistics.prepare((layer,), spec, on_progress, should_stop)[layer]
        if StatisticOrigin.of(statistic) == origin:
            return statistic
    raise StatisticError(
        f"{version_name(remaining.version.number)} was edited with C0 of layer {layer} from {origin.tokens} tokens of "
        f"{origin.corpus}. That statistic is not in this worker's data folder, and none of the configured corpora "
        f"({', '.join(context.settings.corpus_names)}) is that text: add it to corpora again, or copy the statistic's "
        "file into the folder statistics/ from a worker that has it"
    )


def _configured(context: WorkerContext) -> dict[str, Corpus]:
    """Those that can be read, by what tells their text apart."""
    corpora = {}
    for name in context.settings.corpus_names:
        try:
            corpus = corpus_named(context.settings, name)
            corpora[corpus.name] = corpus
        except CorpusError as error:
            log.warning("a configured corpus cannot be read", corpus=name, error=str(error))
    return corpora
