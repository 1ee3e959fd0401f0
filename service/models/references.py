"""What a path means by a model and a version."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api_schemas.references import ModelReference, parse_reference, version_number
from editing.methods import ModelShape
from service.http.fields import invalid
from store.errors import ModelNotFoundError, VersionNotFoundError
from store.lineage import models
from store.schema.tables import ModelRow


def reference_in(text: str, field: str = "model") -> ModelReference:
    """Raises InvalidFieldsError where `text` has not the form of a reference."""
    try:
        return parse_reference(text)
    except ValueError as error:
        raise invalid(field, str(error)) from None


def shape_of(row: ModelRow) -> ModelShape | None:
    """None until a worker has loaded the model."""
    if row.model_type is None or row.n_layers is None or row.d_in is None:
        return None
    return ModelShape(row.model_type, row.n_layers, row.d_in)


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
