"""Queries on models."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from api_schemas.references import LATEST
from store.access import audit
from store.access.audit import Actor
from store.clock import now
from store.errors import FingerprintConflictError, ModelNotFoundError, RegistrationConflictError
from store.schema.tables import AliasRow, ModelRow, VersionRow


@dataclass(frozen=True)
class ModelIdentity:
    """What a worker found when it loaded a model. A NAME stays bound to the first identity that it had.

    `special_tokens` are the texts of its tokenizer's named tokens: {"bos_token": "<s>"}.
    """

    fingerprint: str
    tokenizer_fingerprint: str
    dtype: str
    model_type: str
    n_layers: int
    d_in: int
    d_out: int
    context_length: int
    tokenizer_blob: str
    chat_template: str | None
    special_tokens: dict[str, str] = dataclasses.field(default_factory=dict)


_EMMETD = Actor("emmetd")


def register(
    session: Session, name: str, source: str, actor: Actor = _EMMETD, *, revision: str | None = None
) -> ModelRow:
    """The model's row, made on first sight with its base `v0` and `latest` pointing at it.

    One that is there stays as it is: whoever must have `source` or `revision` compares them.
    """
    row = session.get(ModelRow, name)
    if row is None:
        row = ModelRow(name=name, source=source, revision=revision, created_at=now(), next_version=1)
        session.add(row)
        session.flush()
        session.add(
            VersionRow(
                model=name, number=0, layers=[], matrix_hashes={}, provenance={}, state="available", created_at=now()
            )
        )
        session.add(AliasRow(model=name, alias=LATEST, version=0, updated_at=now()))
        pinned = {} if revision is None else {"revision": revision}
        audit.record(session, actor, "model.registered", model=name, target=name, source=source, **pinned)
        session.flush()
    return row


def bind(session: Session, name: str, identity: ModelIdentity, revision: str | None = None) -> ModelRow:
    """Bind NAME to what was loaded, or raise FingerprintConflictError if it is bound to something else.

    `revision` is the commit at which the registered source was loaded; the first one stays, as the fingerprint does.
    Raises RegistrationConflictError for another.
    """
    row = get(session, name)
    if None not in (row.revision, revision) and row.revision != revision:
        raise RegistrationConflictError(
            f"model {name!r} is registered at revision {row.revision}, but this worker loaded {revision}; "
            "start it again without a revision, and it takes the registered one"
        )
    for field in ("fingerprint", "tokenizer_fingerprint", "dtype"):
        bound, found = getattr(row, field), getattr(identity, field)
        if bound is not None and bound != found:
            raise FingerprintConflictError(
                f"model {name!r} is bound to {field} {bound[:12]}, but this worker loaded {found[:12]}; "
                "give the other model another name (--model-name), or use another data folder"
            )
    for field, value in asdict(identity).items():
        setattr(row, field, value)
    row.revision = row.revision or revision
    return row


def find(session: Session, name: str) -> ModelRow | None:
    return session.get(ModelRow, name)


def get(session: Session, name: str) -> ModelRow:
    row = session.get(ModelRow, name)
    if row is None:
        known = ", ".join(model.name for model in all_models(session)) or "none yet"
        raise ModelNotFoundError(f"no model {name!r}; known models: {known}")
    return row


def all_models(session: Session) -> list[ModelRow]:
    return list(session.scalars(select(ModelRow).order_by(ModelRow.name)))
