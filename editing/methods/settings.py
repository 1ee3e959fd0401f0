"""What follows from a batch's settings, and how they are stored before they are complete."""

from __future__ import annotations

from typing import Final

from api_schemas.settings import EditSettings

OVERRIDES: Final = "overrides"
"""Under this name a batch keeps the caller's overrides where its model was not known yet; its worker completes them."""

CONTEXT_OVERHEAD = 2
"""Tokens beside a context text's own: the full stop after it, and one that may change where the texts meet."""


MOST_REHEARSED: Final = 512
"""Earlier facts that one batch listens to, however large it is."""


def rehearsed_facts(settings: EditSettings, subjects: int) -> int:
    """How many earlier facts a batch of so many `subjects` listens to at most.

    Listening is a part of repair. A strict batch listens to none: it would be refused for keys that are not its own.
    """
    if settings.strict or not settings.repair_rounds:
        return 0
    return min(settings.rehearse * subjects, MOST_REHEARSED)


def context_reserve(settings: EditSettings) -> int:
    """Tokens of the model's context that are kept for a context text before each prompt."""
    return settings.context_tokens + CONTEXT_OVERHEAD if settings.context_texts else 0
