"""Accepting evaluations, and reading what came of them."""

from __future__ import annotations

from typing import Any

import structlog
from pydantic import ValidationError

from api_schemas.evaluations import EvaluationJob, EvaluationPage, EvaluationRequest
from api_schemas.facts import Fact
from api_schemas.references import LATEST, ModelReference, version_name
from editing.metrics import METRICS
from editing.readings.observations import Reading
from service import jobs
from service.access.quotas import check_quotas
from service.evaluations.facts_said import facts_said
from service.evaluations.judge import judge_asked
from service.evaluations.report.page import page as report_page
from service.evaluations.views import WrittenJob, evaluation_job, evaluation_summary
from service.facts import check_measurable, most_elements, read_facts
from service.http.bodies import parse_json
from service.http.cursors import read_cursor, write_cursor
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


def submit(resources: Resources, body: bytes, idempotency_key: str | None = None) -> EvaluationJob:
    """Keep the evaluation and its task, with all versions pinned, or refuse it with everything that is wrong.

    Whoever sends it twice under one Idempotency-Key gets the same evaluation.
    """
    key = jobs.SentKey.of(idempotency_key, body)
    known = jobs.accepted_before(resources, EVALUATION, key, evaluation_job)
    if known is not None:
        return known
    request, facts = _read(resources, body)
    judge = judge_asked(request, resources.settings)
    reference = reference_in(request.model)
    resources.caller.check_model(reference.name)
    compared = [_named_beside(reference, "compare_with", text) for text in request.compare_with]
    source = None if request.facts_of is None else _named_beside(reference, "facts_of", request.facts_of)
    facts_of = None
    with resources.database.reading() as session:
        model = models.get(session, reference.name)
        lineage.resolve(session, reference)
        for version in compared:
            lineage.resolve(session, version)
        if source is not None:
            facts_of = lineage.resolve(session, source)
            most = resources.settings.max_facts
            kept = facts_said(session, facts_of, request.sample, request.seed, most)
    if facts_of is None:
        _check_tokens(resources, model, facts)
        kept = [fact.model_dump(mode="json") for fact in facts]
    with resources.database.writing() as session:
        before = key.accepted(session, EVALUATION, resources.caller.id)  # by another process, a moment ago
        if before is not None:
            return evaluation_job(before)
        check_quotas(session, resources.caller, len(kept), "evaluation")
        jobs.check_room(resources, session, EVALUATION, model.name)
        row = evaluations.create(
            session,
            model=model.name,
            version=lineage.resolve(session, reference).number,
            compare_with=None if not compared else lineage.resolve(session, compared[0]).number,
            others=[lineage.resolve(session, other).number for other in compared[1:]],
            metrics=list(dict.fromkeys(request.metrics)),
            facts=kept,
            facts_of=None if facts_of is None else facts_of.number,
            sample=request.sample,
            seed=None if facts_of is None else request.seed,
            judge=judge,
            caller=resources.caller.id,
            idempotency_key=key.key,
            body_sha256=key.body_sha256,
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
        job = evaluation_job(row)
    resources.relay.wake()
    log.info("evaluation accepted", evaluation=job.id, model=job.model, facts=job.n_facts)
    return job


def page(resources: Resources, model: str | None, cursor: str | None, limit: int) -> EvaluationPage:
    """Newest first."""
    rows, more = jobs.page(resources, EVALUATION, model, cursor, limit)
    return EvaluationPage(data=[evaluation_summary(row) for row in rows], next_cursor=more)


def cancel(resources: Resources, evaluation_id: str, rows: int) -> WrittenJob:
    """What has ended stays as it is."""
    jobs.cancel(resources, EVALUATION, evaluation_id)
    return get(resources, evaluation_id, None, rows)


def get(resources: Resources, evaluation_id: str, cursor: str | None, limit: int) -> WrittenJob:
    """With `limit` rows of facts."""
    first = read_cursor("rows", cursor) or 0
    with resources.database.reading() as session:
        row = jobs.owned(resources, session, EVALUATION, evaluation_id)
        rows = evaluations.page(session, row.id, first, limit)
        more = write_cursor("rows", first + limit) if len(rows) > limit else None
        return WrittenJob.of(evaluation_job(row), rows[:limit], more)


def report(resources: Resources, evaluation_id: str) -> str:
    """A page to read (HTML), as far as it has been measured."""
    with resources.database.reading() as session:
        row = jobs.owned(resources, session, EVALUATION, evaluation_id)
        return report_page(session, evaluation_summary(row))


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
    facts: list[Fact] = []
    if request is None or _takes_facts(value, request, errors):
        if "facts" not in value:
            errors.add("facts", "is missing; give a list of facts, or name in facts_of whose facts are measured")
        else:
            facts = read_facts(value["facts"], resources.settings, errors)
    errors.raise_if_any()
    assert request is not None
    return request, facts


def _takes_facts(value: dict[str, Any], request: EvaluationRequest, errors: FieldErrors) -> bool:
    """Whether the request's own facts are measured: not where it names whose, nor where nothing is read of facts."""
    if request.facts_of is not None:
        if "facts" in value:
            errors.add("facts_of", "stands beside facts; send facts, or name whose facts are measured")
        return False
    if request.sample is not None:
        errors.add("sample", "is of the facts of a version; name that in facts_of, or leave it out")
    return "facts" in value or any(METRICS[name].reads - {Reading.HELD_OUT} for name in request.metrics)


def _named_beside(reference: ModelReference, field: str, named: str) -> ModelReference:
    """A version or an alias of the same model, with or without the model's name before it."""
    text = named if "@" in named else f"{reference.name}@{named or LATEST}"
    found = reference_in(text, field)
    if found.name != reference.name:
        raise invalid(field, f"{shown(named)} is of another model; name a version of {reference.name!r}")
    return found


def _check_tokens(resources: Resources, model: ModelRow, facts: list[Fact]) -> None:
    if model.tokenizer_blob is None or model.context_length is None:
        return
    tokenizer = resources.tokenizers.get(model.tokenizer_blob)
    check_measurable(facts, tokenizer, model.context_length).raise_if_any()
