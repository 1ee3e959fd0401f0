"""Accepting consolidations: which facts, from which version, and with which settings."""

from __future__ import annotations

import structlog

from api_schemas.consolidations import ConsolidationRequest
from api_schemas.edits import EditJob
from api_schemas.facts import Fact
from api_schemas.references import ModelReference
from service.edits.service import accepted_before, keep
from service.edits.settings import check_batch_limit, complete_settings, known_algorithm, stored_settings
from service.edits.submission import EditSubmission
from service.edits.thresholds import check_conversation, check_thresholds
from service.http.bodies import read_model
from service.http.fields import FieldErrors
from service.models.references import model_named, version_reference
from service.resources import Resources
from store.lineage import models
from store.lineage import versions as lineage
from store.work import batches
from store.work.batches import NewBatch
from store.work.consolidation import check_free, check_still_kept, facts_to_consolidate

log = structlog.get_logger(__name__)


def submit(resources: Resources, name: str, version: str, submission: EditSubmission) -> EditJob:
    """Keep the consolidation as a batch on the base, or refuse it. Whoever sends it twice gets the same job.

    The facts are read where no writer waits for it: what a version says never changes, but for texts that go.
    """
    expected = submission.expected_version()
    request = read_model(submission.body, ConsolidationRequest)
    reference = version_reference(name, version)
    known = accepted_before(resources, submission)
    if known is not None:
        log.info("consolidation was accepted before", edit=known.id, facts=known.facts)
        return known
    with resources.database.reading() as session:
        model_named(session, name)
        model = models.get(session, name)
        number = lineage.resolve(session, reference).number
        batches.check_unmoved(reference, expected, number)
        check_free(session, name, number)
        found = facts_to_consolidate(session, name, number)
    settings = complete_settings(model, algorithm := known_algorithm(request.algorithm), request.settings)
    facts = [Fact.model_validate(one.fact) for one in found]
    errors = FieldErrors()
    check_batch_limit(algorithm, [fact.subject for fact in facts], errors)
    check_thresholds(request.thresholds, facts, errors)
    errors.raise_if_any()
    check_conversation(request.thresholds, model)
    new = NewBatch(
        reference=ModelReference(name, version=0),
        algorithm=algorithm.name,
        settings=stored_settings(settings, request.settings),
        thresholds=request.thresholds,
        facts=[one.fact for one in found],
        consolidates=number,
        origins=[one.origin for one in found],
        label=request.label,
        dry_run=request.dry_run,
        urgent=request.urgent,
        caller=resources.caller.id,
        idempotency_key=submission.idempotency_key,
        body_sha256=submission.body_sha256,
    )
    with resources.database.writing() as session:
        if batches.accepted_before(session, new.caller, new.idempotency_key, new.body_sha256) is None:
            lineage.get(session, name, number)
            check_free(session, name, number)
            check_still_kept(session, found)
        job, is_new = keep(resources, session, new)
    resources.relay.wake()
    log.info("consolidation accepted" if is_new else "consolidation was accepted before", edit=job.id, facts=job.facts)
    return job
