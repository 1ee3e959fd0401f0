"""Places that callers hold for a while, counted by caller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Places:
    """Those of one process. For the event loop alone."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    def of(self, caller_id: str) -> int:
        return self._held[caller_id]

    def total(self) -> int:
        return self._held.total()

    @contextmanager
    def one_more(self, caller_id: str) -> Iterator[None]:
        """Held while the block runs."""
        self._held[caller_id] += 1
        try:
            yield
        finally:
            self._held[caller_id] -= 1
            if not self._held[caller_id]:
                del self._held[caller_id]
