"""When a greedy answer need not be written on: however it ends, its metric will say the same of it."""

from __future__ import annotations

from collections.abc import Sequence

from api_schemas.facts import Fact
from editing.metrics.said.wording import normalised, place_of
from editing.readings.observations import Reading

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""Stands at the end of a text for a character whose last bytes are not there yet."""


def is_certain(reading: Reading, fact: Fact, text: str) -> bool:
    """Whether what GA, GA_paraphrase or GA_chat make of an answer to `fact` is certain from its beginning `text`."""
    match reading:
        case Reading.GREEDY:
            return begins_for_certain(text, fact.answers) is not None
        case Reading.GREEDY_PARAPHRASES | Reading.GREEDY_CHAT:
            return says_for_certain(text, fact.answers, fact.target_old) is not None
    return False


def begins_for_certain(text: str, answers: Sequence[str]) -> bool | None:
    """What `begins_with_one` says of every text that begins with `text`; None where they differ."""
    said = normalised(text.rstrip(_UNFINISHED))
    wanted = [normalised(answer) for answer in answers]
    if any(said.startswith(answer) for answer in wanted):
        return True
    return None if any(answer.startswith(said) for answer in wanted) else False


def says_for_certain(text: str, answers: Sequence[str], old: str | None) -> bool | None:
    """What `says_one` says of every text that begins with `text`; None where they differ.

    Words count once something stands after them: the next token may go on with the last one. And whatever would count
    for its place before them must have had room to be said.
    """
    said = normalised(text.rstrip(_UNFINISHED))
    wanted = {normalised(answer) for answer in answers}
    before = None if old is None or normalised(old) in wanted else normalised(old)
    places = [(place, answer) for answer in wanted if (place := place_of(said, answer)) is not None]
    old_place = None if before is None else place_of(said, before)
    if places:
        first = min(place for place, _ in places)
        ends = min(place + len(answer) for place, answer in places if place == first)
        if old_place is None or old_place >= first:
            room = first + len(before or "")
            return True if len(said) > max(ends, room) else None
    if old_place is not None and before is not None:
        longest = max(map(len, wanted))
        return False if len(said) > old_place + max(len(before), longest) else None
    return None
