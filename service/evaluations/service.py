"""Accepting evaluations, and reading what came of them."""

from __future__ import annotations

from typing import Any

import structlog
from pydantic import ValidationError

from api_schemas.evaluations import EvaluationJob, EvaluationPage, EvaluationRequest
from api_schemas.facts import Fact
from api_schemas.references import LATEST, ModelReference, version_name
from service import jobs
from service.access.quotas import check_quotas
from service.evaluations.views import evaluation_job, evaluation_summary
from service.facts import check_measurable, most_elements, read_facts
from service.http.bodies import parse_json
from service.http.cursors import read_cursor
from service.http.fields import FieldErrors, invalid, shown
from service.http.metric_names import CHECKED_NAMES
from service.models.references import reference_in
from service.resources import Resources
from store.access import audit
from store.lineage import models
from store.lineage import versions as lineage
from store.schema.tables import ModelRow
from store.work import evaluations
from store.work.kinds import EVALUATION

log = structlog.get_logger(__name__)


def submit(resources: Resources, body: bytes, page: int) -> EvaluationJob:
    """Keep the evaluation and its task, with both versions pinned, or refuse it with everything that is wrong."""
    request, facts = _read(resources, body)
    reference = reference_in(request.model)
    resources.caller.check_model(reference.name)
    compared = _compared(reference, request.compare_with)
    with resources.database.reading() as session:
        model = models.get(session, reference.name)
        lineage.resolve(session, reference)
        if compared is not None:
            lineage.resolve(session, compared)
    _check_tokens(resources, model, facts)
    with resources.database.writing() as session:
        check_quotas(session, resources.caller, len(facts), "evaluation")
        jobs.check_room(resources, session, EVALUATION, model.name)
        row = evaluations.create(
            session,
            model=model.name,
            version=lineage.resolve(session, reference).number,
            compare_with=None if compared is None else lineage.resolve(session, compared).number,
            metrics=list(dict.fromkeys(request.metrics)),
            facts=[fact.model_dump(mode="json") for fact in facts],
            caller=resources.caller.id,
        )
        audit.record(
            session,
            resources.caller.actor,
            "evaluation.accepted",
            model=row.model,
            target=row.id,
            version=version_name(row.version),
            facts=row.n_facts,
        )
        job = evaluation_job(row, 0, page)
    resources.relay.wake()
    log.info("evaluation accepted", evaluation=job.id, model=job.model, facts=job.n_facts)
    return job


def page(resources: Resources, model: str | None, cursor: str | None, limit: int) -> EvaluationPage:
    """Newest first."""
    rows, more = jobs.page(resources, EVALUATION, model, cursor, limit)
    return EvaluationPage(data=[evaluation_summary(row) for row in rows], next_cursor=more)


def cancel(resources: Resources, evaluation_id: str, rows: int) -> EvaluationJob:
    """What has ended stays as it is."""
    return evaluation_job(jobs.cancel(resources, EVALUATION, evaluation_id), 0, rows)


def get(resources: Resources, evaluation_id: str, cursor: str | None, limit: int) -> EvaluationJob:
    first = read_cursor("rows", cursor) or 0
    with resources.database.reading() as session:
        return evaluation_job(jobs.owned(resources, session, EVALUATION, evaluation_id), first, limit)


def _read(resources: Resources, body: bytes) -> tuple[EvaluationRequest, list[Fact]]:
    value: Any = parse_json(body, most_elements(resources.settings))
    if not isinstance(value, dict):
        raise invalid("body", f"is {shown(value)}; it must be an object with model and facts")
    errors = FieldErrors()
    request: EvaluationRequest | None = None
    try:
        request = EvaluationRequest.model_validate({**value, "facts": []}, strict=True, context=CHECKED_NAMES)
    except ValidationError as error:
        errors.add_all(error, EvaluationRequest)
    facts = read_facts(value.get("facts", []), resources.settings, errors)
    errors.raise_if_any()
    assert request is not None
    return request, facts


def _compared(reference: ModelReference, compare_with: str | None) -> ModelReference | None:
    """A version or an alias of the same model, with or without the model's name before it."""
    if compare_with is None:
        return None
    text = compare_with if "@" in compare_with else f"{reference.name}@{compare_with or LATEST}"
    compared = reference_in(text, "compare_with")
    if compared.name != reference.name:
        raise invalid(
            "compare_with", f"{shown(compare_with)} is of another model; name a version of {reference.name!r}"
        )
    return compared


def _check_tokens(resources: Resources, model: ModelRow, facts: list[Fact]) -> None:
    if model.tokenizer_blob is None or model.context_length is None:
        return
    tokenizer = resources.tokenizers.get(model.tokenizer_blob)
    check_measurable(facts, tokenizer, model.context_length).raise_if_any()
