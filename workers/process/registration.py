"""Which model a worker loads: the one that its NAME is registered with, at the registered revision."""

from __future__ import annotations

import re
from typing import Final

from configuration.settings import Settings
from editing.model.loading import fetched_commit
from editing.sources.inspection import commit_of, same_source
from store.errors import RegistrationConflictError
from store.lineage import models
from store.schema.database import Database
from store.schema.tables import ModelRow

_COMMIT: Final = re.compile(r"[0-9a-f]{7,40}")


def as_registered(database: Database, settings: Settings) -> Settings:
    """`settings` with the model and revision of the registration, where the NAME has one.

    A NAME that weights are bound to may be served from another place too: their fingerprints are compared once they
    are loaded. Raises RegistrationConflictError, naming both and what to do, where another model or revision is asked
    for, and ModelLoadError where only the hub can say which commit a revision is and does not.
    """
    name = settings.served_model_name
    with database.reading() as session:
        row = models.find(session, name)
    if row is None:
        return settings
    if "model" in settings.model_fields_set and not same_source(settings.model, row.source):
        if row.fingerprint is None:
            raise RegistrationConflictError(
                f"model {name!r} is registered as {row.source!r}, but this worker was told to load {settings.model!r}; "
                "leave --model out, or give the other model another name (--model-name)"
            )
        return settings
    if row.revision is not None:
        _check_revision(row, settings)
    revision = row.revision or settings.revision
    return settings.model_copy(update={"model": row.source, "model_name": name, "revision": revision})


def _check_revision(row: ModelRow, settings: Settings) -> None:
    """Raises RegistrationConflictError where the worker's own revision is another commit than the registered one."""
    wanted = settings.revision
    if row.revision is None or wanted is None or row.revision.startswith(wanted.lower()):
        return
    commit = None if _COMMIT.fullmatch(wanted.lower()) else _commit(row.source, wanted, settings)
    if commit != row.revision:
        told = f"{wanted!r}" if commit is None else f"{wanted!r}, which is {commit}"
        raise RegistrationConflictError(
            f"model {row.name!r} is registered at revision {row.revision}, but this worker was told revision {told}; "
            "leave --revision out to serve the registered one, or give the other another name (--model-name)"
        )


def _commit(source: str, revision: str, settings: Settings) -> str:
    """What was fetched as that branch or tag: it is what this worker would serve, without a network."""
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    return fetched_commit(source, revision, settings.data) or commit_of(source, revision, token)
