"""An edit's algorithm and settings, checked and completed when the batch is accepted."""

from __future__ import annotations

import difflib
import re
from typing import Any, Final

from api_schemas.facts import subject_key
from api_schemas.settings import SettingsOverrides
from editing.methods import ALGORITHMS, OVERRIDES, Algorithm, EditSettings, ModelShape, resolve_settings
from service.errors import InvalidFieldsError
from service.http.fields import FieldErrors, invalid, shown
from service.models.references import shape_of
from store.schema.tables import ModelRow

_ANY_SHAPE: Final = ModelShape("", n_layers=1001, d_in=0)
"""As many layers as a request may name: what does not depend on the model is checked against it."""


def known_algorithm(name: str) -> Algorithm:
    """Raises InvalidFieldsError listing the known ones."""
    if name not in ALGORITHMS:
        near = difflib.get_close_matches(name, ALGORITHMS, n=1)
        remedy = f"did you mean {near[0]}? " if near else ""
        raise invalid("algorithm", f"{shown(name)} is unknown; {remedy}known: {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]


def complete_settings(row: ModelRow, algorithm: Algorithm, overrides: SettingsOverrides) -> EditSettings | None:
    """Complete settings, or None where the model is not known yet. Raises InvalidFieldsError."""
    shape = shape_of(row)
    try:
        settings = resolve_settings(
            algorithm,
            shape or _ANY_SHAPE,
            overrides,
            has_chat_template=shape is None or row.chat_template is not None,
        )
    except ValueError as error:
        raise _as_field(str(error)) from None
    return None if shape is None else settings


def stored_settings(settings: EditSettings | None, overrides: SettingsOverrides) -> dict[str, Any]:
    """What the batch's row keeps."""
    if settings is None:
        return {OVERRIDES: overrides.model_dump(mode="json", exclude_none=True)}
    return settings.model_dump(mode="json")


def check_batch_limit(algorithm: Algorithm, subjects: list[str], errors: FieldErrors) -> None:
    """A method such as ROME takes one subject at a time; white space around and in a subject does not count."""
    distinct = {subject_key(subject): None for subject in subjects}
    if algorithm.batch_limit is not None and len(distinct) > algorithm.batch_limit:
        several = ", ".join(name for name, row in ALGORITHMS.items() if row.batch_limit is None)
        first = ", ".join(shown(subject) for subject in list(distinct)[:3])
        errors.add(
            "facts",
            f"{algorithm.name} edits {algorithm.batch_limit} subject at a time and the batch has {len(distinct)} "
            f"({first}{', …' if len(distinct) > 3 else ''}); send a batch for each, or use {several}",
        )


def _as_field(message: str) -> InvalidFieldsError:
    named = re.match(r"(settings\.\w+):? (.*)", message, re.DOTALL)
    return invalid(named[1], named[2]) if named else invalid("settings", message)
