"""Completes a batch's settings: the method's, the model's recommended ones and the caller's."""

from __future__ import annotations

from api_schemas.settings import SettingsOverrides
from editing.errors import EditingError
from editing.methods import ALGORITHMS, OVERRIDES, EditSettings, resolve_settings
from editing.values.chat_forms import chat_forms
from store.schema.tables import BatchRow
from workers.context import WorkerContext


class SettingsError(EditingError):
    """The settings do not fit the model that was loaded since the batch was accepted."""

    code = "settings_invalid"


def settings_of(context: WorkerContext, batch: BatchRow) -> EditSettings:
    """Raises SettingsError where the settings do not fit this model."""
    if OVERRIDES not in batch.settings:
        return EditSettings.model_validate(batch.settings)
    overrides = SettingsOverrides.model_validate(batch.settings[OVERRIDES])
    try:
        return resolve_settings(
            ALGORITHMS[batch.algorithm],
            context.model.shape,
            overrides,
            has_chat_template=bool(chat_forms(context.model.tokenizer)),
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error
