"""Where a revert lets an edit change nothing from then on, and where it holds it: at the tokens of texts.

What stays in an edit blurs into what left it, more so where subjects and prompts are alike, so that solving the edit
without a fact is not enough for the fact's old answer to come back. And what leaves takes something of its neighbours
with it: what stays is held where it is asked for, not only at its keys, which are averages over contexts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from api_schemas.facts import Fact, subject_key
from editing.answer_keys import AnswerTokens, Prefix, answer_tokens
from versions.lineage_facts import LineageFact
from workers.kept import KeptEdit, column_of_subject
from workers.reversal import Affected

MOST = 0.25
"""The share of a layer's independent keys at which an edit may be pinned. What is left has to say the facts that stay:
their keys lose about that share of their length, and get as much more of the update. Held tokens have what of it the
edit's columns and the pins leave: the more is asked of the change, the larger it is."""


@dataclass(frozen=True)
class TextKeys:
    """Tokens of an edit's texts: those at which it shall change nothing, and those at which it shall change what it did
    change before."""

    pinned: Sequence[Prefix] = ()
    held: Sequence[Prefix] = ()


def leaving_alone(
    here: Sequence[LineageFact], told: Sequence[LineageFact], affected: Mapping[str, Affected]
) -> dict[str, list[LineageFact]]:
    """By edit, those of `told`, which leave, whose subject nothing in their edit is said about any more.

    Facts about a subject that stays are optimised again at the very key that would be pinned.
    """
    found: dict[str, list[LineageFact]] = {}
    for edit, one in affected.items():
        columns = column_of_subject(_of(here, edit))
        own = _of(told, edit)
        found[edit] = [fact for fact in own if columns[subject_key(fact.fact["subject"])] not in one.again]
    return found


def text_keys(
    tokenizer: Tokenizer,
    here: Sequence[LineageFact],
    leaving: Mapping[str, Sequence[LineageFact]],
    affected: Mapping[str, Affected],
    kept: Mapping[str, KeptEdit],
) -> dict[str, TextKeys]:
    """By edit, the tokens to pin it at so that `leaving` are answered as without it, and those to hold it at so that
    what stays is answered as before; none where nothing stays in it."""
    found = {}
    for edit, facts in leaving.items():
        columns, gone = column_of_subject(_of(here, edit)), {one.place.index for one in facts}
        staying = [one for one in _of(here, edit) if one.reverted_by is None and one.place.index not in gone]
        if not staying:
            continue
        moved, room = set(affected[edit].out), _room(kept[edit])
        again = [one for one in staying if columns[subject_key(one.fact["subject"])] in moved]
        alone = [one for one in staying if columns[subject_key(one.fact["subject"])] not in moved]
        stay, renewed = _texts(tokenizer, alone), {text.subject for text in _texts(tokenizer, again)}
        subjects = renewed.union(text.subject for text in stay)
        pinned = _chosen(_texts(tokenizer, facts), subjects, room)
        held = _chosen(stay, renewed.union(pinned), room - len(pinned) - len(kept[edit].columns))
        found[edit] = TextKeys(pinned, held)
    return found


def _room(kept: KeptEdit) -> int:
    """How many more keys of each layer can be pinned."""
    return min(
        int(MOST * one.keys.shape[0]) - (0 if one.pins is None else one.pins.shape[1]) for one in kept.layers.values()
    )


def _chosen(texts: Sequence[AnswerTokens], without: Collection[Prefix], room: int) -> list[Prefix]:
    """Every token of prompts and answers: where all of their outputs are another version's, the answers are that one's.

    Where those are too many, the tokens from the subject's last one on, which the edit was made for, or that one alone;
    where these are too many, none. Never one of `without`: the key of a fact that stays, "Lyon" in "Lyon Airport", is
    not pinned, and what is pinned or gets a new value is not held.
    """
    for chosen in (_all, _from_subject, _subject):
        found: dict[Prefix, None] = {}
        for prefix in (prefix for text in texts for prefix in chosen(text)):
            if prefix not in without:
                found[prefix] = None
            if len(found) > room:
                break
        else:
            return list(found)
    return []


def _all(text: AnswerTokens) -> Iterator[Prefix]:
    return text.prefixes()


def _from_subject(text: AnswerTokens) -> Iterator[Prefix]:
    return text.prefixes(text.subject_last)


def _subject(text: AnswerTokens) -> Iterator[Prefix]:
    yield text.subject


def _texts(tokenizer: Tokenizer, of: Sequence[LineageFact]) -> list[AnswerTokens]:
    return [answer_tokens(tokenizer, Fact.model_validate(one.fact)) for one in of]


def _of(facts: Sequence[LineageFact], edit: str) -> list[LineageFact]:
    return [one for one in facts if one.place.edit == edit]
