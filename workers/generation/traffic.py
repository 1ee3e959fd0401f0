"""Whether completions are being answered, so that work which nobody waits for can let them pass."""

from __future__ import annotations

import threading


class Traffic:
    """Told by the thread that decodes, asked by the one that runs tasks."""

    def __init__(self) -> None:
        self._none = threading.Event()
        self._none.set()

    def is_any(self, there_is: bool) -> None:
        """Say whether a completion is being answered."""
        if there_is:
            self._none.clear()
        else:
            self._none.set()

    def let_pass(self, seconds: float) -> None:
        """Wait until no completion is being answered, but no longer than `seconds`."""
        if seconds > 0:
            self._none.wait(seconds)
