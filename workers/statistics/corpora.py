"""Opens the corpora that the operator configured, for C0 to be made from."""

from __future__ import annotations

from configuration.corpus_settings import SELF_SAMPLED, CorpusFile, CorpusMoments, read_corpus
from configuration.settings import Settings
from editing.covariance.corpus import Corpus, SelfSampled
from editing.covariance.published_moments import PublishedMoments
from editing.covariance.statistics_store import StatisticSpec
from editing.covariance.text_corpora import HubDataSet, TextFile
from editing.errors import CorpusError


def corpus_named(settings: Settings, name: str) -> Corpus:
    """Raises CorpusError listing what is known where nothing is configured under `name`."""
    if name == SELF_SAMPLED:
        return SelfSampled()
    if name not in settings.corpora:
        raise CorpusError(f"corpus {name!r} is not configured here; known: {', '.join(settings.corpus_names)}")
    source = read_corpus(settings.corpora[name])
    if isinstance(source, CorpusFile):
        return TextFile(source.path, source.field)
    if isinstance(source, CorpusMoments):
        return PublishedMoments(source.path)
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    return HubDataSet(source.data_set, source.revision, source.files, source.field, token=token)


def default_spec(settings: Settings) -> StatisticSpec:
    """What the C0 of edits is made from."""
    return StatisticSpec(corpus_named(settings, settings.corpus), settings.corpus_tokens)
