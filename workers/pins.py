"""Where a revert lets an edit change nothing from then on: at the tokens of the prompts and answers that it takes out.

What stays in an edit blurs into what left it, more so where subjects and prompts are alike, so that solving the edit
without a fact is not enough for the fact's old answer to come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tokenizers import Tokenizer

from api_schemas.facts import Fact, subject_key
from editing.answer_keys import AnswerTokens, Prefix, answer_tokens
from versions.lineage_facts import LineageFact
from workers.kept import KeptEdit, column_of_subject
from workers.reversal import Affected

MOST_PINNED = 0.25
"""The share of a layer's independent keys at which an edit may be pinned. What is left has to say the facts that stay:
their keys lose about that share of their length, and get as much more of the update."""


def leaving_alone(
    here: Sequence[LineageFact], told: Sequence[LineageFact], affected: Mapping[str, Affected]
) -> dict[str, list[LineageFact]]:
    """By edit, those of `told`, which leave, whose subject nothing in their edit is said about any more.

    Facts about a subject that stays are optimised again at the very key that would be pinned.
    """
    found: dict[str, list[LineageFact]] = {}
    for edit, one in affected.items():
        columns = column_of_subject([fact for fact in here if fact.place.edit == edit])
        own = [fact for fact in told if fact.place.edit == edit]
        found[edit] = [fact for fact in own if columns[subject_key(fact.fact["subject"])] not in one.again]
    return found


def pinned_prefixes(
    tokenizer: Tokenizer,
    here: Sequence[LineageFact],
    leaving: Mapping[str, Sequence[LineageFact]],
    kept: Mapping[str, KeptEdit],
) -> dict[str, list[Prefix]]:
    """By edit, the tokens to pin it at so that `leaving` are answered as without it; none where nothing stays in it."""
    found = {}
    for edit, facts in leaving.items():
        gone = {one.place.index for one in facts}
        staying = [
            one for one in here if one.place.edit == edit and one.reverted_by is None and one.place.index not in gone
        ]
        if facts and staying:
            found[edit] = _prefixes(tokenizer, _facts(facts), _facts(staying), _room(kept[edit]))
    return found


def _room(kept: KeptEdit) -> int:
    """How many more keys of each layer can be pinned."""
    return min(
        int(MOST_PINNED * one.keys.shape[0]) - (0 if one.pins is None else one.pins.shape[1])
        for one in kept.layers.values()
    )


def _prefixes(tokenizer: Tokenizer, leaving: Sequence[Fact], staying: Sequence[Fact], room: int) -> list[Prefix]:
    """Every token of prompts and answers: with all of their outputs put back, the answers are exactly what they were.

    Where those are too many, the tokens from the subject's last one on, which the edit was made for, or that one alone;
    where these are too many, none. The key of a fact that stays is left out: "Lyon" in "Lyon Airport".
    """
    texts = [answer_tokens(tokenizer, fact) for fact in leaving]
    held = {answer_tokens(tokenizer, fact).subject for fact in staying}
    for chosen in (_all, _from_subject, _subject):
        found: dict[Prefix, None] = {}
        for prefix in (prefix for text in texts for prefix in chosen(text)):
            if prefix not in held:
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


def _facts(of: Sequence[LineageFact]) -> list[Fact]:
    return [Fact.model_validate(one.fact) for one in of]
