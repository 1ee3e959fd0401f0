"""The methods, as rows of one table: `GET /v1/algorithms` shows it and workers run from it."""

from __future__ import annotations

from api_schemas.settings import EditSettings, SettingsOverrides
from editing.methods.alphaedit import ALPHAEDIT
from editing.methods.emmet import EMMET
from editing.methods.memit import MEMIT
from editing.methods.method import Algorithm, ModelShape, SettingValue
from editing.methods.recommended import recommended_for, recommended_layers
from editing.methods.rome import ROME
from editing.methods.settings import OVERRIDES, context_reserve, rehearsed_facts

DEFAULT_REHEARSED = 8
"""Earlier facts that a batch listens to, for each of its own subjects (docs/decisions/0039-rehearsal.md)."""

ALGORITHMS: dict[str, Algorithm] = {row.name: row for row in (EMMET, MEMIT, ROME, ALPHAEDIT)}

__all__ = [
    "ALGORITHMS",
    "DEFAULT_REHEARSED",
    "OVERRIDES",
    "Algorithm",
    "EditSettings",
    "ModelShape",
    "SettingValue",
    "context_reserve",
    "recommended_for",
    "recommended_layers",
    "rehearsed_facts",
    "resolve_settings",
]


def resolve_settings(
    algorithm: Algorithm, shape: ModelShape, overrides: SettingsOverrides, *, has_chat_template: bool = False
) -> EditSettings:
    """Complete settings: the model's recommendation, the method's, its own for the model, a preset, the caller's.

    Where the model has a chat template, the chat forms are among those of its recommendation. Raises ValueError naming
    the field, the value and the remedy where the preset is unknown, a layer does not exist, or there is no such form.
    """
    recommended = dict(recommended_for(shape))
    if algorithm.one_layer:
        recommended["layers"] = (max(recommended_layers(shape)),)
    chosen: dict[str, SettingValue | list[int]] = {
        "forms": ("bare", "context", "chat") if has_chat_template else ("bare", "context"),
        "protect": "none" if algorithm.uses_past_keys else "weighted",
        "rehearse": DEFAULT_REHEARSED if algorithm.batch_limit is None else 0,
        **recommended,
        **algorithm.defaults,
        **algorithm.per_model.get(shape, {}),
    }
    if overrides.preset is not None:
        if overrides.preset not in algorithm.presets:
            known = ", ".join(sorted(algorithm.presets)) or "none"
            raise ValueError(f"settings.preset {overrides.preset!r} is unknown for {algorithm.name}; known: {known}")
        chosen |= algorithm.presets[overrides.preset]
    explicit = overrides.model_dump(exclude_none=True, exclude={"preset"})
    if "mu" in explicit:
        chosen["mu_relative"] = None
    if "mu_relative" in explicit:
        chosen["mu"] = None
    chosen |= explicit
    settings = EditSettings.model_validate(chosen)
    if "chat" in settings.forms and not has_chat_template:
        raise ValueError(f"settings.forms {[*settings.forms]}: the model has no chat template; leave chat out")
    if settings.rehearse and algorithm.batch_limit is not None:
        raise ValueError(
            f"settings.rehearse {settings.rehearse}: {algorithm.name} takes {algorithm.batch_limit} subject in one "
            "solve, and no earlier facts beside it; leave rehearse out"
        )
    beyond = [layer for layer in settings.layers if layer >= shape.n_layers]
    if beyond:
        raise ValueError(f"settings.layers {beyond}: the model has layers 0 to {shape.n_layers - 1}")
    return settings.model_copy(update={"layers": tuple(sorted(settings.layers))})
