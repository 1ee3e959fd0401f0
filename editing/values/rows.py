"""What is run for a group's value: one row for each fact and context, and one for what is known of the subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

from editing.subjects import PromptTokens
from editing.values.facts import SubjectGroup

BARE = -1
_Weights = tuple[float, float, float]
"""Shares of a row in its group's loss, key and z₀."""


@dataclass(frozen=True)
class Row:
    """One sequence and what is read from it.

    Rows of one `unit`, alike but for `context` (the index of the text before them, or BARE), run together. `tokens` are
    the row's own, without its context text's. Tokens before
    `subject` (the subject's last token) are the row's prefix, the others its suffix, which δ changes. From the suffix
    slot `first_read` on, one slot after another predicts `labels`; a row without labels is a KL row, read at slot 0.
    `loss_weight` is the row's share in its group's loss, `key_weight` in its group's key, `state_weight` in its z₀.
    """

    group: int
    unit: int
    context: int
    tokens: tuple[int, ...]
    subject: int
    first_read: int
    labels: tuple[int, ...]
    loss_weight: float
    key_weight: float
    state_weight: float

    @property
    def suffix_length(self) -> int:
        return len(self.tokens) - self.subject

    @property
    def reads(self) -> int:
        return max(len(self.labels), 1)


def rows_of(groups: Sequence[SubjectGroup], contexts: int, kl_factor: float) -> list[Row]:
    """The rows of `groups` under `contexts` context texts, in the groups' order.

    The loss weighs all contexts alike and the bare prompt as one of them; a key is half the bare prompt's and half the
    context texts' (the authors' weights), z₀ the bare prompt's. Facts of one group weigh alike in all three. A fact
    that begins a text (`TokenizedFact.begins_text`) has no bare row where there are context texts: these stand for it,
    all alike. Without a KL term (factor 0) there is no KL row.
    """
    rows: list[Row] = []
    units = count()
    for number, group in enumerate(groups):
        share = 1.0 / len(group.facts)
        for fact in group.facts:
            bare, continued = fact.tokens.bare, fact.tokens.continued
            if not contexts:
                rows.append(_answer(number, next(units), BARE, bare, (share, share, share)))
                continue
            each = share / contexts
            of_context: _Weights = (each, each, each)
            if not fact.begins_text:
                loss = share / (contexts + 1)
                rows.append(_answer(number, next(units), BARE, bare, (loss, share * 0.5, share)))
                of_context = (loss, each * 0.5, 0.0)
            unit = next(units)
            rows += [_answer(number, unit, n, continued, of_context) for n in range(contexts)]
        if kl_factor > 0:
            essence = group.facts[0].tokens.essence
            rows.append(
                Row(number, next(units), BARE, essence.prompt, essence.subject_last, 0, (), kl_factor, 0.0, 0.0)
            )
    return rows


def _answer(group: int, unit: int, context: int, text: PromptTokens, weights: _Weights) -> Row:
    first_read = len(text.prompt) - 1 - text.subject_last
    return Row(
        group, unit, context, text.prompt + text.target[:-1], text.subject_last, first_read, text.target, *weights
    )


def subject_only(row: Row) -> Row:
    """The row cut after the subject's last token: all that keys and states need."""
    return replace(row, tokens=row.tokens[: row.subject + 1], first_read=0, labels=(), loss_weight=0.0)
