"""When a text says an answer: compared as people compare, whatever the case and the white space."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_UNSPACED: Final = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han
    "\U00020000-\U0003ffff"
)
"""Scripts that put nothing between words: there, what stands beside a word says nothing of where it ends."""
_IS_UNSPACED: Final = re.compile(f"[{_UNSPACED}]")
_NO_WORD_BEFORE: Final = rf"(?<![^\W{_UNSPACED}])"
_NO_WORD_AFTER: Final = rf"(?![^\W{_UNSPACED}])"


def normalised(text: str) -> str:
    """Case folded, runs of white space as one space, none at the ends."""
    return " ".join(text.casefold().split())


def begins_with_one(text: str, answers: Sequence[str]) -> bool:
    """Whether `text` begins with one of `answers`, up to that answer's end; what follows is not looked at."""
    said = normalised(text)
    return any(said.startswith(normalised(answer)) for answer in answers)


def says_one(text: str, answers: Sequence[str], old: str | None) -> bool:
    """Whether `text` contains one of `answers` as words, and not `old` as words before it.

    An `old` that stands within the answer, or is one of them, does not count.
    """
    said = normalised(text)
    wanted = {normalised(answer) for answer in answers}
    places = [place for answer in wanted if (place := place_of(said, answer)) is not None]
    if not places:
        return False
    if old is None or normalised(old) in wanted:
        return True
    before = place_of(said, normalised(old))
    return before is None or before >= min(places)


def place_of(text: str, words: str) -> int | None:
    """Where `words` first stand in `text`, not as a part of other words; both normalised."""
    found = _as_words(words).search(text)
    return None if found is None else found.start()


def _as_words(words: str) -> re.Pattern[str]:
    before = "" if _IS_UNSPACED.match(words[0]) else _NO_WORD_BEFORE
    after = "" if _IS_UNSPACED.match(words[-1]) else _NO_WORD_AFTER
    return re.compile(f"{before}{re.escape(words)}{after}")
