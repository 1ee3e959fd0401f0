"""What a path means by a model and a version."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api_schemas.references import ModelReference, version_number
from versions import models
from versions.errors import ModelNotFoundError, VersionNotFoundError
from versions.tables import ModelRow


def version_reference(name: str, version: str) -> ModelReference:
    """A version, or an alias, which is followed. What has the form of neither does not exist."""
    try:
        return ModelReference(name, version=version_number(version))
    except ValueError:
        return ModelReference(name, alias=version)


def model_named(session: Session, name: str) -> ModelRow:
    """Raises ModelNotFoundError, or VersionNotFoundError saying how to write it where `name` is a whole reference."""
    try:
        return models.get(session, name)
    except ModelNotFoundError as error:
        if "@" in name:
            raise VersionNotFoundError(
                f"{name[:100]!r} is not a model's NAME; write /v1/models/{name.partition('@')[0][:64]}/versions/…"
            ) from error
        raise
