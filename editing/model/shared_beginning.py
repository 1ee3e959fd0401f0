"""Finds what many prompts begin with, such as the opening of a chat template, so that it runs once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_ALIKE: Final = 8
"""Tokens by which prompts are taken to begin alike; fewer are not worth a pass of their own."""
LEAST_SAVED: Final = 64
"""Tokens that must be saved: about twice what one more pass costs on a CPU (`editing.model.batching`)."""


@dataclass(frozen=True)
class SharedBeginning:
    """The prompts `rows`, by number, begin with the same `length` tokens, and have at least one more."""

    length: int
    rows: frozenset[int]


def shared_beginning(prompts: Sequence[Sequence[int]], versions: int = 1) -> SharedBeginning | None:
    """What saves most tokens where it runs once for each of `versions` instead of once for each prompt.

    None where that is too little.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for number, prompt in enumerate(prompts):
        if len(prompt) > _ALIKE:
            alike.setdefault(tuple(prompt[:_ALIKE]), []).append(number)
    best, most = None, LEAST_SAVED - 1
    for rows in alike.values():
        length = _length_alike([prompts[row][:-1] for row in rows])
        saved = (len(rows) - versions) * length
        if saved > most:
            best, most = SharedBeginning(length, frozenset(rows)), saved
    return best


def _length_alike(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all `sequences` begin with."""
    columns = zip(*sequences, strict=False)
    return next((n for n, tokens in enumerate(columns) if len(set(tokens)) > 1), min(map(len, sequences)))
