"""Accepting statistics, and reading what came of them."""

from __future__ import annotations

import difflib
from typing import Any

import structlog
from pydantic import ValidationError

from api_schemas.statistics import CorpusList, StatisticJob, StatisticPage, StatisticRequest
from configuration.settings import Settings
from editing.methods import recommended_layers
from service import jobs
from service.access.quotas import check_quotas
from service.http.bodies import parse_json
from service.http.fields import FieldErrors, invalid, shown
from service.models.references import model_named, shape_of
from service.resources import Resources
from service.statistics.views import corpus_info, statistic_job
from store.access import audit
from store.schema.tables import ModelRow
from store.work import statistics
from store.work.kinds import STATISTIC

log = structlog.get_logger(__name__)


def submit(resources: Resources, body: bytes, idempotency_key: str | None = None) -> StatisticJob:
    """Keep the statistic and its task, or refuse it with everything that is wrong.

    Whoever sends it twice under one Idempotency-Key gets the same statistic.
    """
    key = jobs.SentKey.of(idempotency_key, body)
    known = jobs.accepted_before(resources, STATISTIC, key, statistic_job)
    if known is not None:
        return known
    request = _read(body)
    resources.caller.check_model(request.model.partition("@")[0])
    settings = resources.settings
    errors = FieldErrors()
    _check_corpus(request, settings, errors)
    with resources.database.reading() as session:
        layers = _layers(request, model_named(session, request.model), errors)
    errors.raise_if_any()
    corpus = settings.corpus if request.corpus is None else request.corpus
    by_default = request.tokens is None and corpus == settings.corpus
    with resources.database.writing() as session:
        before = key.accepted(session, STATISTIC, resources.caller.id)  # by another process, a moment ago
        if before is not None:
            return statistic_job(before)
        check_quotas(session, resources.caller, 0, "statistic")
        jobs.check_room(resources, session, STATISTIC, request.model)
        row = statistics.create(
            session,
            model=request.model,
            layers=layers,
            corpus=corpus,
            tokens=settings.corpus_tokens if by_default else request.tokens,
            caller=resources.caller.id,
            idempotency_key=key.key,
            body_sha256=key.body_sha256,
        )
        audit.record(
            session,
            resources.caller.actor,
            "statistic.accepted",
            model=row.model,
            target=row.id,
            corpus=row.corpus,
            layers=row.layers,
            tokens=row.tokens,
        )
        job = statistic_job(row)
    resources.relay.wake()
    log.info("statistic accepted", statistic=job.id, model=job.model, corpus=job.corpus, layers=layers)
    return job


def cancel(resources: Resources, statistic_id: str) -> StatisticJob:
    """What has ended stays as it is."""
    return statistic_job(jobs.cancel(resources, STATISTIC, statistic_id))


def get(resources: Resources, statistic_id: str) -> StatisticJob:
    with resources.database.reading() as session:
        return statistic_job(jobs.owned(resources, session, STATISTIC, statistic_id))


def page(resources: Resources, model: str | None, cursor: str | None, limit: int) -> StatisticPage:
    """Newest first."""
    rows, more = jobs.page(resources, STATISTIC, model, cursor, limit)
    return StatisticPage(data=[statistic_job(row) for row in rows], next_cursor=more)


def corpora(resources: Resources) -> CorpusList:
    settings = resources.settings
    return CorpusList(data=[corpus_info(settings, name) for name in settings.corpus_names])


def _read(body: bytes) -> StatisticRequest:
    value: Any = parse_json(body)
    if not isinstance(value, dict):
        raise invalid("body", f"is {shown(value)}; it must be an object with a model")
    errors = FieldErrors()
    try:
        return StatisticRequest.model_validate(value, strict=True)
    except ValidationError as error:
        errors.add_all(error, StatisticRequest)
        errors.raise_if_any()
        raise


def _check_corpus(request: StatisticRequest, settings: Settings, errors: FieldErrors) -> None:
    known = settings.corpus_names
    if request.corpus is not None and request.corpus not in known:
        near = difflib.get_close_matches(request.corpus, known, n=1)
        remedy = f"did you mean {near[0]}? " if near else ""
        errors.add("corpus", f"{shown(request.corpus)} is not configured; {remedy}known: {', '.join(known)}")


def _layers(request: StatisticRequest, row: ModelRow, errors: FieldErrors) -> list[int] | None:
    """Sorted; None where they are not named and no worker has told yet what the model is."""
    shape = shape_of(row)
    if request.layers is None:
        return None if shape is None else sorted(recommended_layers(shape))
    for number, layer in enumerate(request.layers):
        if layer in request.layers[:number]:
            errors.add(f"layers[{number}]", f"{layer} is named twice; name each layer once")
        if shape is not None and layer >= shape.n_layers:
            errors.add(f"layers[{number}]", f"is {layer}; the model has layers 0 to {shape.n_layers - 1}")
    return sorted(request.layers)
