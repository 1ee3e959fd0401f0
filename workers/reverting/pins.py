"""Where a revert lets an edit change nothing from then on, and where it holds it: at the tokens of texts.

What stays in an edit blurs into what left it, more so where subjects and prompts are alike, so that solving the edit
without a fact is not enough for the fact's old answer to come back. And what leaves takes something of its neighbours
with it: what stays is held where it is asked for, not only at its keys, which are averages over contexts, and what
other edits of the lineage say is held too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tokenizers import Tokenizer

from api_schemas.facts import Fact, subject_key
from editing.values.answer_keys import AnswerTokens, TokenPrefix, answer_tokens
from store.lineage.facts_in_force import LineageFact, Place
from workers.reverting.kept import KeptEdit, column_of_subject
from workers.reverting.reversal import Affected

MOST_PINNED: Final = 0.25
"""The share of a layer's independent keys at which an edit may be pinned. What is left has to say the facts that stay:
their keys lose about that share of their length, and get as much more of the update."""
MOST_ASKED: Final = 0.5
"""The share of them at which anything is asked: columns, pins and held tokens. The more is asked, the less is met."""

Tokens = Callable[[AnswerTokens], Iterator[TokenPrefix]]


def _all(text: AnswerTokens) -> Iterator[TokenPrefix]:
    """With the outputs of all of them another version's, the answers are exactly that one's."""
    return text.prefixes()


def _from_subject(text: AnswerTokens) -> Iterator[TokenPrefix]:
    """Those that the edit was made for, and what follows."""
    return text.prefixes(text.subject_last)


def _subject(text: AnswerTokens) -> Iterator[TokenPrefix]:
    yield text.subject


_PINNED: Final[Sequence[Sequence[Tokens]]] = ((_all,), (_from_subject,), (_subject,))
"""Which tokens of the texts that leave, in the order of preference."""
_HELD: Final[Sequence[Sequence[Tokens]]] = (
    *((_all, _all), (_all, _from_subject), (_all, _subject), (_from_subject, _subject), (_subject, _subject)),
    *((_all,), (_from_subject,), (_subject,)),
)
"""Which tokens of the texts that stay in the edit, and of those of other edits: more texts before more tokens."""


@dataclass(frozen=True)
class TextKeys:
    """Tokens of texts: those at which an edit shall change nothing, and those at which it shall change what it changed
    before."""

    pinned: Sequence[TokenPrefix] = ()
    held: Sequence[TokenPrefix] = ()


def leaving_alone(
    here: Sequence[LineageFact], told: Sequence[LineageFact], affected: Mapping[str, Affected]
) -> dict[str, list[LineageFact]]:
    """By edit, those of `told`, which leave, whose subject nothing in their edit is said about any more.

    Facts about a subject that stays are optimised again at the very key that would be pinned.
    """
    column = _column_of(here, affected)
    return {
        edit: [one for one in told if one.place.edit == edit and column(one) not in affected[edit].again]
        for edit in affected
    }


def text_keys(
    tokenizer: Tokenizer,
    here: Sequence[LineageFact],
    leaving: Mapping[str, Sequence[LineageFact]],
    affected: Mapping[str, Affected],
    kept: Mapping[str, KeptEdit],
) -> dict[str, TextKeys]:
    """By edit, the tokens to pin it at so that `leaving` are answered as without it, and those to hold it at so that
    what the lineage's facts say stays as it is; none where nothing stays in the edit.

    The key at which a fact that stays is said is not pinned ("Lyon" in "Lyon Airport"), and one that gets a new value
    is not held.
    """
    column, fact_at = _column_of(here, affected), {one.place: one.fact for one in here}
    moved = {one.place for one in here if one.place.edit in affected and column(one) in affected[one.place.edit].out}

    @functools.cache
    def text(place: Place) -> AnswerTokens:
        return answer_tokens(tokenizer, Fact.model_validate(fact_at[place]))

    found = {}
    for edit, facts in leaving.items():
        gone = [one.place for one in facts]
        own = [one.place for one in here if one.place.edit == edit and one.reverted_by is None]
        staying = [place for place in own if place not in set(gone)]
        others = [one.place for one in reversed(here) if one.place.edit != edit and one.state == "in_force"]
        if staying:
            at_subjects = {text(place).subject for place in staying}
            pinned = _chosen(_PINNED, [gone], text, at_subjects, _room(kept[edit], MOST_PINNED))
            untouched = [[place for place in places if place not in moved] for places in (staying, others)]
            without = {text(place).subject for place in moved.difference(gone)}.union(pinned)
            room = _room(kept[edit], MOST_ASKED) - len(pinned) - len(kept[edit].columns)
            held = _chosen(_HELD, untouched, text, without, room)
            found[edit] = TextKeys(pinned, held)
    return found


def _column_of(here: Sequence[LineageFact], edits: Collection[str]) -> Callable[[LineageFact], int]:
    """The column that a fact of one of `edits` has in it."""
    columns = {edit: column_of_subject([one for one in here if one.place.edit == edit]) for edit in edits}
    return lambda one: columns[one.place.edit][subject_key(one.fact["subject"])]


def _room(kept: KeptEdit, share: float) -> int:
    """How many more keys of each layer there can be until pins are this share of them."""
    return min(
        int(share * one.keys.shape[0]) - (0 if one.pins is None else one.pins.shape[1]) for one in kept.layers.values()
    )


def _chosen(
    ways: Sequence[Sequence[Tokens]],
    groups: Sequence[Sequence[Place]],
    text: Callable[[Place], AnswerTokens],
    without: Collection[TokenPrefix],
    room: int,
) -> list[TokenPrefix]:
    """The tokens, but for those of `without`, that the first of `ways` for which there is room takes of each group's
    texts; none where there is none. Of thousands of texts only so many are looked at as there is room for."""
    for way in ways:
        found: dict[TokenPrefix, None] = {}
        pairs = ((tokens, place) for tokens, places in zip(way, groups, strict=False) for place in places)
        for prefix in (prefix for tokens, place in pairs for prefix in tokens(text(place))):
            if prefix not in without:
                found[prefix] = None
            if len(found) > room:
                break
        else:
            return list(found)
    return []
