"""Accepting edit batches: every check that needs no loaded model, then one transaction that keeps the batch."""

from __future__ import annotations

from dataclasses import replace

import structlog
from sqlalchemy.orm import Session

from api_schemas.edits import EditJob, EditPage, LeftOutPage
from api_schemas.facts import FactPage
from api_schemas.references import version_name
from editing.methods import EditSettings, context_reserve
from service import jobs
from service.access.quotas import check_quotas
from service.edits.settings import check_batch_limit, complete_settings, known_algorithm, stored_settings
from service.edits.submission import Batch, EditSubmission, read_batch
from service.edits.thresholds import (
    asked_budget,
    budget_of,
    check_budget,
    check_conversation,
    check_thresholds,
    with_defaults,
)
from service.edits.views import edit_job, numbered
from service.facts import check_contradictions, check_editable, placed
from service.http.cursors import read_cursor, write_cursor
from service.http.fields import FieldErrors
from service.models.views import fact_place
from service.resources import Resources
from store.access import audit
from store.errors import BlobError
from store.lineage import models
from store.lineage import versions as lineage
from store.lineage.fact_pages import superseded
from store.schema.tables import BatchRow, ModelRow
from store.work import batches
from store.work.batches import NewBatch
from store.work.kinds import EDIT

log = structlog.get_logger(__name__)


def submit(resources: Resources, submission: EditSubmission) -> EditJob:
    """Keep the batch, or refuse it with everything that is wrong. Whoever sends it twice gets the same job."""
    expected = submission.expected_version()
    known = accepted_before(resources, submission)
    if known is not None:
        log.info("edit was accepted before", edit=known.id, model=known.model, facts=known.facts)
        return known
    errors = FieldErrors()
    batch = read_batch(submission, resources.settings, errors)
    request = batch.request
    resources.caller.check_model(batch.reference.name)
    algorithm = known_algorithm(request.algorithm)
    check_contradictions(batch.numbered, batch.odd)
    batch = batch.without_odd() if request.invalid_facts == "skip" else batch
    check_batch_limit(algorithm, [fact.subject for fact in batch.facts], errors)
    check_thresholds(request.thresholds, batch.facts, errors)
    errors.raise_if_any()
    with resources.database.reading() as session:
        model = models.get(session, batch.reference.name)
        resolved = lineage.resolve_number(session, batch.reference)
        measured = lineage.get(session, model.name, resolved.version).metrics
    batches.check_unmoved(batch.reference, expected, resolved.version)
    check_conversation(request.thresholds, model)
    budget = budget_of(asked_budget(request.budget), request.thresholds)
    check_budget(budget, measured, version_name(resolved.version))
    settings = complete_settings(model, algorithm, request.settings)
    batch = _checked_tokens(resources, model, batch, settings)
    new = NewBatch(
        reference=batch.reference,
        algorithm=algorithm.name,
        settings=stored_settings(settings, request.settings),
        thresholds=with_defaults(request.thresholds),
        budget=budget,
        facts=[fact.model_dump(mode="json") for fact in batch.facts],
        left_out=batch.left_out,
        label=request.label,
        dry_run=request.dry_run,
        urgent=request.urgent,
        moves_protected=resources.caller.is_admin,
        if_match=expected,
        caller=resources.caller.id,
        idempotency_key=submission.idempotency_key,
        body_sha256=submission.body_sha256,
    )
    job, is_new = _accept(resources, new)
    resources.relay.wake()
    log.info("edit accepted" if is_new else "edit was accepted before", edit=job.id, model=job.model, facts=job.facts)
    return job


def accepted_before(resources: Resources, submission: EditSubmission) -> EditJob | None:
    """The job that came with the submission's Idempotency-Key.

    Looked for before anything else: whether the same would be accepted now, after an alias went or a limit was lowered,
    is not asked. Raises IdempotencyConflictError, ModelNotGrantedError.
    """
    if submission.idempotency_key is None:
        return None
    with resources.database.reading() as session:
        row = batches.accepted_before(session, resources.caller.id, submission.idempotency_key, submission.body_sha256)
        if row is None:
            return None
        resources.caller.check_owner(row.model, f"edit {row.id}")
        return edit_job(row)


def get(resources: Resources, edit_id: str) -> EditJob:
    with resources.database.reading() as session:
        return edit_job(owned(resources, session, edit_id))


def page(resources: Resources, model: str | None, cursor: str | None, limit: int) -> EditPage:
    """Newest first."""
    rows, more = jobs.page(resources, EDIT, model, cursor, limit)
    return EditPage(data=[edit_job(row) for row in rows], next_cursor=more)


def facts(resources: Resources, edit_id: str, cursor: str | None, limit: int) -> FactPage:
    """In the order in which they were sent."""
    first = read_cursor("facts", cursor) or 0
    with resources.database.reading() as session:
        row = owned(resources, session, edit_id)
        found = numbered(batches.facts(session, edit_id, first, limit), first)
        corrected = superseded(session, row, found)
    for one, place in zip(found, corrected, strict=True):
        one["supersedes"] = fact_place(place)
    more = write_cursor("facts", first + limit) if first + limit < row.facts else None
    return FactPage.model_validate({"data": found, "next_cursor": more})


def left_out(resources: Resources, edit_id: str, cursor: str | None, limit: int) -> LeftOutPage:
    """What the batch was accepted without, in the order of the request."""
    first = read_cursor("left_out", cursor) or 0
    with resources.database.reading() as session:
        found = owned(resources, session, edit_id).left_out or []
    more = write_cursor("left_out", first + limit) if first + limit < len(found) else None
    return LeftOutPage.model_validate({"data": found[first : first + limit], "next_cursor": more})


def cancel(resources: Resources, edit_id: str) -> EditJob:
    """Cancel what no worker is at; ask what runs to stop. What has ended stays as it is."""
    row = jobs.cancel(resources, EDIT, edit_id)
    resources.relay.wake()
    return edit_job(row)


def owned(resources: Resources, session: Session, edit_id: str) -> BatchRow:
    """The batch, of a model that the caller may see. Raises BatchNotFoundError, ModelNotGrantedError."""
    return jobs.owned(resources, session, EDIT, edit_id)


def keep(resources: Resources, session: Session, new: NewBatch) -> tuple[EditJob, bool]:
    """Accept the batch within what its caller may have, and write down who sent it; False if it was there already."""
    if batches.accepted_before(session, new.caller, new.idempotency_key, new.body_sha256) is None:
        check_quotas(session, resources.caller, len(new.facts) if new.reverts is None else 0)
    row, is_new = batches.accept(session, new, most_queued=resources.settings.max_queued_batches)
    if is_new:
        audit.record(
            session,
            resources.caller.actor,
            f"{row.kind}.accepted",
            model=row.model,
            target=row.id,
            requested=row.requested,
            algorithm=row.algorithm,
            facts=row.facts,
            dry_run=row.dry_run,
            edit_label=row.label,
            **({"left_out": row.left_out_count} if row.left_out_count else {}),
        )
    return edit_job(row), is_new


def _checked_tokens(resources: Resources, model: ModelRow, batch: Batch, settings: EditSettings | None) -> Batch:
    """With the subjects that the tokenizer can place. Raises InvalidFieldsError for facts that it cannot.

    Where the model's tokenizer is not known yet, or blobs are away, its worker makes the same checks later.
    """
    if settings is None or model.tokenizer_blob is None or model.context_length is None:
        return batch
    try:
        tokenizer = resources.tokenizers.get(model.tokenizer_blob)
    except (BlobError, OSError) as error:
        log.warning("the model's tokenizer cannot be read; its worker will check the facts", error=str(error))
        return batch
    batch = replace(batch, numbered=placed(batch.numbered, tokenizer, model.context_length))
    check_editable(batch.numbered, tokenizer, model.context_length, context_reserve(settings), batch.odd)
    return batch.without_odd()


def _accept(resources: Resources, new: NewBatch) -> tuple[EditJob, bool]:
    with resources.database.writing() as session:
        return keep(resources, session, new)
