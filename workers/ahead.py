"""What a worker does ahead of the tasks that will want it, while none waits, so that an edit need not wait for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

MOST_HELD: Final = 8
"""What is asked for beyond so many lets the oldest go: it can be done when it is wanted, too."""

log = structlog.get_logger(__name__)


class Ahead:
    """Short pieces of work, each done at most once, in the thread that runs tasks. Safe between threads.

    A piece keeps what it makes where its task will look; it takes about a second at most, since a task may come
    meanwhile.
    """

    def __init__(self) -> None:
        self._pieces: deque[tuple[str, Callable[[], object]]] = deque(maxlen=MOST_HELD)
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, name: str, piece: Callable[[], object]) -> None:
        with self._lock:
            self._pieces.append((name, piece))

    def do_one(self) -> None:
        """Do the oldest piece. One that fails is left to the task that wants it, which can say so."""
        with self._lock:
            if not self._pieces:
                return
            name, piece = self._pieces.popleft()
        try:
            piece()
        except Exception as error:
            log.info("not done ahead", what=name, error=f"{type(error).__name__}: {error}")
        else:
            log.debug("done ahead", what=name)
