"""What a line may be edited with: methods and settings whose names stand in tables and pictures.

All but `earlier_defaults` find values alike, by the project's default settings, so that what differs is the solve and
how it treats earlier facts: the question that a line puts. `emmetd reproduce` compares with the authors' ways of
optimising, batch by batch on the unedited model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from api_schemas.settings import SettingsOverrides
from editing.methods import ALGORITHMS, EditSettings, ModelShape, resolve_settings


@dataclass(frozen=True)
class LineMethod:
    """`overrides` are set over the defaults of `algorithm`. With `consolidates_below`, all facts are solved anew on the
    unedited model whenever EM of the earlier ones is below it after a batch, as the service advises."""

    title: str
    algorithm: str
    overrides: Mapping[str, Any]
    consolidates_below: float | None = None

    def settings(self, shape: ModelShape, *, has_chat_template: bool) -> EditSettings:
        overrides = SettingsOverrides.model_validate(dict(self.overrides))
        return resolve_settings(ALGORITHMS[self.algorithm], shape, overrides, has_chat_template=has_chat_template)


METHODS: Final = {
    "defaults": LineMethod("emmetd's defaults", "emmet", {}),
    "consolidated": LineMethod("defaults, consolidated when worn", "emmet", {}, consolidates_below=0.9),
    "pinned": LineMethod("earlier keys pinned", "emmet", {"protect": "pinned"}),
    "unrehearsed": LineMethod("defaults without rehearsal", "emmet", {"rehearse": 0}),
    "unprotected": LineMethod("neither protection nor rehearsal", "emmet", {"protect": "none", "rehearse": 0}),
    "earlier_defaults": LineMethod(
        "neither protection, rehearsal nor chat forms",
        "emmet",
        {"protect": "none", "rehearse": 0, "clamp": 4.0, "forms": ["bare", "context"]},
    ),
    "emmet_equality": LineMethod(
        "EMMET, μ = 0", "emmet", {"protect": "none", "rehearse": 0, "mu": 0.0, "mu_relative": None}
    ),
    "memit": LineMethod("MEMIT", "memit", {"protect": "none", "rehearse": 0}),
    "alphaedit": LineMethod("AlphaEdit", "alphaedit", {"rehearse": 0}),
    "anchored": LineMethod("defaults, norms anchored", "emmet", {"anchor_norm": True}),
}
DEFAULT_METHODS: Final = ("defaults", "consolidated", "unprotected", "emmet_equality", "memit", "alphaedit")
