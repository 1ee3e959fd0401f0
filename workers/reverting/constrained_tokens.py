"""Chooses the tokens at which a revert constrains an edit: pinned (no change there any more) or held (change as
before).

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
from workers.reverting.affected_edits import AffectedEdit
from workers.reverting.remaining_edit import RemainingEdit, column_of_subject

MOST_PINNED: Final = 0.25
"""The share of a layer's independent keys at which an edit may be pinned. What is left has to say the facts that stay:
their keys lose about that share of their length, and get as much more of the update."""
MOST_ASKED: Final = 0.5
"""The share of them at which anything is asked: columns, pins and held tokens. The more is asked, the less is met."""

TokenChoice = Callable[[AnswerTokens], Iterator[TokenPrefix]]


def _all(text: AnswerTokens) -> Iterator[TokenPrefix]:
    """With the outputs of all of them another version's, the answers are exactly that one's."""
    return text.prefixes()


def _from_subject(text: AnswerTokens) -> Iterator[TokenPrefix]:
    """Those that the edit was made for, and what follows."""
    return text.prefixes(text.subject_last)


def _subject(text: AnswerTokens) -> Iterator[TokenPrefix]:
    yield text.subject


_PINNED: Final[Sequence[Sequence[TokenChoice]]] = ((_all,), (_from_subject,), (_subject,))
"""Which tokens of the texts that leave, in the order of preference."""
_HELD: Final[Sequence[Sequence[TokenChoice]]] = (
    *((_all, _all), (_all, _from_subject), (_all, _subject), (_from_subject, _subject), (_subject, _subject)),
    *((_all,), (_from_subject,), (_subject,)),
)
"""Which tokens of the texts that stay in the edit, and of those of other edits: more texts before more tokens."""


@dataclass(frozen=True)
class ConstrainedTokens:
    """Tokens of texts: those at which an edit shall change nothing, and those at which it shall change what it changed
    before."""

    pinned: Sequence[TokenPrefix] = ()
    held: Sequence[TokenPrefix] = ()


def facts_of_leaving_subjects(
    in_lineage: Sequence[LineageFact], reverted_facts: Sequence[LineageFact], affected: Mapping[str, AffectedEdit]
) -> dict[str, list[LineageFact]]:
    """By edit, those of `reverted_facts`, which leave, whose subject nothing in their edit is said about any more, and
    those that it had written again.

    Facts about a subject that stays are optimised again at the very key that would be pinned.
    """
    column = _column_of(in_lineage, affected)
    return {
        edit: [
            fact
            for fact in reverted_facts
            if (fact.place.edit, fact.place.index) in affected[edit].restated
            or (fact.place.edit == edit and column(fact) not in affected[edit].reoptimised)
        ]
        for edit in affected
    }


def constrained_tokens(
    tokenizer: Tokenizer,
    in_lineage: Sequence[LineageFact],
    leaving: Mapping[str, Sequence[LineageFact]],
    affected: Mapping[str, AffectedEdit],
    remaining: Mapping[str, RemainingEdit],
) -> dict[str, ConstrainedTokens]:
    """By edit, the tokens to pin it at so that `leaving` are answered as without it, and those to hold it at so that
    what the lineage's facts say stays as it is; none where nothing stays in the edit.

    The key at which a fact that stays is said is not pinned ("Lyon" in "Lyon Airport"), and one that gets a new value
    is not held.
    """
    column, fact_at = _column_of(in_lineage, affected), {fact.place: fact.fact for fact in in_lineage}
    moved = {
        fact.place
        for fact in in_lineage
        if fact.place.edit in affected and column(fact) in affected[fact.place.edit].leaving_columns
    }

    @functools.cache
    def text(place: Place) -> AnswerTokens:
        return answer_tokens(tokenizer, Fact.model_validate(fact_at[place]))

    by_edit = {}
    for edit, facts in leaving.items():
        leaving_places = [fact.place for fact in facts]
        standing_places = [fact.place for fact in in_lineage if fact.place.edit == edit and fact.reverted_by is None]
        staying = [place for place in standing_places if place not in set(leaving_places)]
        others = [fact.place for fact in reversed(in_lineage) if fact.place.edit != edit and fact.state == "in_force"]
        if staying:
            at_subjects = {text(place).subject for place in staying}
            pinned = _first_that_fits(_PINNED, [leaving_places], text, at_subjects, _room(remaining[edit], MOST_PINNED))
            untouched = [[place for place in places if place not in moved] for places in (staying, others)]
            without = {text(place).subject for place in moved.difference(leaving_places)}.union(pinned)
            room = _room(remaining[edit], MOST_ASKED) - len(pinned) - len(remaining[edit].columns)
            held = _first_that_fits(_HELD, untouched, text, without, room)
            by_edit[edit] = ConstrainedTokens(pinned, held)
    return by_edit


def _column_of(in_lineage: Sequence[LineageFact], edits: Collection[str]) -> Callable[[LineageFact], int]:
    """The column that a fact of one of `edits` has in it."""
    columns = {edit: column_of_subject([fact for fact in in_lineage if fact.place.edit == edit]) for edit in edits}
    return lambda fact: columns[fact.place.edit][subject_key(fact.fact["subject"])]


def _room(remaining: RemainingEdit, share: float) -> int:
    """How many more keys of each layer there can be until pins are this share of them."""
    return min(
        int(share * layer.keys.shape[0]) - (0 if layer.pins is None else layer.pins.shape[1])
        for layer in remaining.layers.values()
    )


def _first_that_fits(
    preferences: Sequence[Sequence[TokenChoice]],
    groups: Sequence[Sequence[Place]],
    text: Callable[[Place], AnswerTokens],
    without: Collection[TokenPrefix],
    room: int,
) -> list[TokenPrefix]:
    """The tokens, but for those of `without`, that the first of `preferences` for which there is room takes of each
    group's texts; none where there is none. Of thousands of texts only so many are looked at as there is room for."""
    for preference in preferences:
        chosen: dict[TokenPrefix, None] = {}
        pairs = ((tokens, place) for tokens, places in zip(preference, groups, strict=False) for place in places)
        for prefix in (prefix for tokens, place in pairs for prefix in tokens(text(place))):
            if prefix not in without:
                chosen[prefix] = None
            if len(chosen) > room:
                break
        else:
            return list(chosen)
    return []
