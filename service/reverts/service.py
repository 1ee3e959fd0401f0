"""Accepting reverts: which facts, on which version, and whether an alias follows."""

from __future__ import annotations

from typing import Final

import structlog
from sqlalchemy.orm import Session

from api_schemas.edits import EditJob
from api_schemas.references import LATEST, ModelReference, version_number
from api_schemas.reverts import RevertRequest
from service.edits.service import accepted_before, keep
from service.edits.submission import EditSubmission
from service.edits.thresholds import asked_budget
from service.http.bodies import read_model
from service.models.references import model_named, version_reference
from service.resources import Resources
from store.errors import ConflictError
from store.lineage import versions as lineage
from store.work.batches import NewBatch
from store.work.reversal import as_reverts, check_still_kept, facts_to_revert

log = structlog.get_logger(__name__)

ALGORITHM: Final = "revert"
MOST_READINGS: Final = 5
"""What a lineage says is read where nobody waits for it, and again where the version moved before it was kept."""


def submit(resources: Resources, name: str, version: str, submission: EditSubmission) -> EditJob:
    """Keep the revert as a batch, or refuse it. Whoever sends it twice gets the same job."""
    expected = submission.expected_version()
    request = read_model(submission.body, RevertRequest)
    job, is_new = _accept(resources, name, version, submission, request, expected)
    resources.relay.wake()
    log.info("revert accepted" if is_new else "revert was accepted before", edit=job.id, facts=job.facts)
    return job


def _accept(
    resources: Resources,
    name: str,
    version: str,
    submission: EditSubmission,
    request: RevertRequest,
    expected: int | None,
) -> tuple[EditJob, bool]:
    known = accepted_before(resources, submission)
    if known is not None:
        return known, False
    for _ in range(MOST_READINGS):
        with resources.database.reading() as session:
            model_named(session, name)
            meant = _meant(resources, session, name, version)
            base = meant[1]
            of = base if request.of is None else version_number(request.of)
            facts = facts_to_revert(
                session, name, base, of=of if request.facts else None, indices=request.facts, edits=request.edits
            )
        new = NewBatch(
            reference=meant[0],
            algorithm=ALGORITHM,
            settings={},
            thresholds=request.thresholds,
            budget=asked_budget(request.budget),
            facts=[one.fact for one in facts],
            reverts=as_reverts(facts),
            label=request.label,
            dry_run=request.dry_run,
            urgent=request.urgent,
            moves_protected=resources.caller.is_admin,
            if_match=expected,
            caller=resources.caller.id,
            idempotency_key=submission.idempotency_key,
            body_sha256=submission.body_sha256,
        )
        with resources.database.writing() as session:
            if _meant(resources, session, name, version) == meant:
                check_still_kept(session, facts)
                return keep(resources, session, new)
    raise ConflictError(f"{name}@{version} moved each time that its facts were read; send the revert again")


def _meant(resources: Resources, session: Session, name: str, version: str) -> tuple[ModelReference, int]:
    """What the revert is to be made on, and which version that is now."""
    reference = _line_or_branch(session, version_reference(name, version), resources.caller.is_admin)
    return reference, lineage.resolve(session, reference).number


def _line_or_branch(session: Session, reference: ModelReference, admin: bool) -> ModelReference:
    """A revert on an alias joins its line; so does one on the version that `latest` points at. Others are branches.

    Where `latest` is protected, only an administrator's revert on its version joins it.
    """
    if reference.alias is not None:
        return reference
    latest = next(row for row in lineage.aliases_of(session, reference.name) if row.alias == LATEST)
    if latest.version != reference.version or (latest.protected and not admin):
        return reference
    return ModelReference(reference.name, alias=LATEST)
