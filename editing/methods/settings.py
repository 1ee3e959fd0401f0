"""What follows from a batch's settings, and how they are stored before they are complete."""

from __future__ import annotations

from typing import Final

from api_schemas.settings import EditSettings

OVERRIDES: Final = "overrides"
"""Under this name a batch keeps the caller's overrides where its model was not known yet; its worker completes them."""

CONTEXT_OVERHEAD = 2
"""Tokens beside a context text's own: the full stop after it, and one that may change where the texts meet."""


def context_reserve(settings: EditSettings) -> int:
    """Tokens of the model's context that are kept for a context text before each prompt."""
    return settings.context_tokens + CONTEXT_OVERHEAD if settings.context_texts else 0
