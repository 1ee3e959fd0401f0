"""How long work says how far it is, and how it is asked to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from editing.errors import EditInterrupted

ShouldStop = Callable[[], bool]


class ProgressCallback(Protocol):
    """Called between two steps with the stage's name, and how many of its items (tokens, bytes, facts) are done."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def never() -> bool:
    """A `ShouldStop` that lets the work run to its end."""
    return False


def check(should_stop: ShouldStop, what: str) -> None:
    """Raise EditInterrupted, naming `what` was interrupted, where `should_stop` says so."""
    if should_stop():
        raise EditInterrupted(f"{what} was asked to stop")
