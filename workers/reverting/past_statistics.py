"""The C0 that an edit was solved with, when facts are taken out of it later: whatever corpus is configured by then."""

from __future__ import annotations

import structlog

from api_schemas.references import version_name
from editing.covariance.corpus import Corpus
from editing.covariance.statistic import Statistic
from editing.covariance.statistics_store import StatisticRequest
from editing.errors import CorpusError, StatisticError
from editing.progress import Progress, ShouldStop
from workers.context import WorkerContext
from workers.reverting.kept import KeptEdit
from workers.statistics.corpora import corpus_named
from workers.statistics.layer_statistics import MadeFrom

log = structlog.get_logger(__name__)


def statistics_of(
    context: WorkerContext, kept: KeptEdit, on_progress: Progress, should_stop: ShouldStop
) -> dict[int, Statistic]:
    """The statistics of the edit's layers: found in the data folder, or made again from the same text.

    With another C0 the facts that stay would be met elsewhere in weight space, and what leaves would not be what was
    put in. Raises StatisticError naming the text where it is gone, EditInterrupted.
    """
    recorded = {layer: MadeFrom(**kept.version.provenance["statistics"][str(layer)]) for layer in kept.layers}
    found = {}
    for layer, made_from in recorded.items():
        one = context.statistics.made_from(layer, made_from)
        if one is None:
            one = _made_again(context, kept, layer, made_from, on_progress, should_stop)
        found[layer] = one
    return found


def _made_again(
    context: WorkerContext,
    kept: KeptEdit,
    layer: int,
    made_from: MadeFrom,
    on_progress: Progress,
    should_stop: ShouldStop,
) -> Statistic:
    corpus = _configured(context).get(made_from.corpus)
    if corpus is not None:
        request = StatisticRequest(corpus, made_from.tokens)
        log.info("making the statistic of an earlier edit again", layer=layer, corpus=corpus.name)
        one = context.statistics.prepare((layer,), request, on_progress, should_stop)[layer]
        if MadeFrom.of(one) == made_from:
            return one
    raise StatisticError(
        f"{version_name(kept.version.number)} was edited with C0 of layer {layer} from {made_from.tokens} tokens of "
        f"{made_from.corpus}. That statistic is not in this worker's data folder, and none of the configured corpora "
        f"({', '.join(context.settings.corpus_names)}) is that text: add it to corpora again, or copy the statistic's "
        "file into the folder statistics/ from a worker that has it"
    )


def _configured(context: WorkerContext) -> dict[str, Corpus]:
    """Those that can be read, by what tells their text apart."""
    found = {}
    for name in context.settings.corpus_names:
        try:
            corpus = corpus_named(context.settings, name)
            found[corpus.name] = corpus
        except CorpusError as error:
            log.warning("a configured corpus cannot be read", corpus=name, error=str(error))
    return found
