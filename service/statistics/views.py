"""A statistic's row, and a configured corpus, as clients see them."""

from __future__ import annotations

from api_schemas.edits import EditError, Progress
from api_schemas.statistics import CorpusInfo, StatisticJob
from configuration.corpus_settings import SELF_SAMPLED, CorpusFile, CorpusMoments, read_corpus
from configuration.settings import Settings
from store.schema.tables import StatisticRow


def statistic_job(row: StatisticRow) -> StatisticJob:
    report = row.report or {}
    return StatisticJob.model_validate(
        {
            "id": row.id,
            "state": row.state,
            "model": row.model,
            "layers": row.layers,
            "corpus": row.corpus,
            "tokens": row.tokens,
            "progress": Progress.model_validate(row.progress),
            "statistics": report.get("layers"),
            "seconds": report.get("seconds"),
            "fingerprint": report.get("fingerprint"),
            "error": None if row.error is None else EditError.model_validate(row.error),
            "created_at": row.created_at,
            "finished_at": row.finished_at,
        }
    )


def corpus_info(settings: Settings, name: str) -> CorpusInfo:
    """Where a file lies is the operator's business."""
    default = name == settings.corpus
    if name == SELF_SAMPLED:
        return CorpusInfo(name=name, kind="self-sampled", data_set=None, default=default)
    source = read_corpus(settings.corpora[name])
    if isinstance(source, CorpusFile):
        return CorpusInfo(name=name, kind="file", data_set=None, default=default)
    if isinstance(source, CorpusMoments):
        return CorpusInfo(name=name, kind="moments", data_set=None, default=default)
    return CorpusInfo(name=name, kind="data_set", data_set=f"{source.data_set}@{source.revision}", default=default)
