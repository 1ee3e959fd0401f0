"""The sequences that a group's value is optimised over: one for each fact and form, and the essence (KL) prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

from editing.subjects import PromptTokens
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup

BARE = -1
_Weights = tuple[float, float, float]
"""Shares of a sequence in its group's loss, key and z₀."""


@dataclass(frozen=True)
class ValueSequence:
    """One sequence and what is read from it.

    Sequences of one `unit`, alike but for `context` (the index of the text before them, or BARE), run together.
    `tokens` are the sequence's own, without its context text's. Tokens before `subject` (the subject's last token) are
    the sequence's prefix, the others its suffix, which δ changes. From the suffix slot `first_predicting` on, one slot
    after another predicts `labels`; a sequence without labels is a KL sequence, read at slot 0. `loss_weight` is the
    sequence's share in its group's loss, `key_weight` in its group's key, `state_weight` in its z₀.
    """

    group: int
    unit: int
    context: int
    tokens: tuple[int, ...]
    subject: int
    first_predicting: int
    labels: tuple[int, ...]
    loss_weight: float
    key_weight: float
    state_weight: float

    @property
    def suffix_length(self) -> int:
        return len(self.tokens) - self.subject

    @property
    def loss_positions(self) -> int:
        return max(len(self.labels), 1)


def sequences_of(groups: Sequence[SubjectGroup], contexts: Sequence[Context], kl_factor: float) -> list[ValueSequence]:
    """The sequences of `groups` under `contexts`, in the groups' order.

    The loss weighs all context texts alike and the bare prompt as one of them; a key is half the bare prompt's and half
    the context texts' (the authors' weights), z₀ the bare prompt's. Chat forms have their own share of loss and key,
    which the others then have less of. Facts of one group weigh alike in all three. A fact that begins a text
    (`TokenizedFact.begins_text`) has no bare sequence where there are context texts: these stand for it, all alike.
    Without a KL term (factor 0) there is no KL sequence.
    """
    texts = [number for number, context in enumerate(contexts) if context.chat is None]
    chats = [
        (number, context.chat, context.share) for number, context in enumerate(contexts) if context.chat is not None
    ]
    sequences: list[ValueSequence] = []
    units = count()
    for number, group in enumerate(groups):
        of_fact = 1.0 / len(group.facts)
        share = of_fact * (1.0 - sum(of_chat for _, _, of_chat in chats))
        for fact in group.facts:
            bare, continued = fact.tokens.bare, fact.tokens.continued
            if not texts:
                sequences.append(_target_sequence(number, next(units), BARE, bare, (share, share, of_fact)))
            else:
                each = share / len(texts)
                of_text: _Weights = (each, each, of_fact / len(texts))
                if not fact.begins_text:
                    loss = share / (len(texts) + 1)
                    sequences.append(_target_sequence(number, next(units), BARE, bare, (loss, share * 0.5, of_fact)))
                    of_text = (loss, each * 0.5, 0.0)
                unit = next(units)
                sequences += [_target_sequence(number, unit, n, continued, of_text) for n in texts]
            sequences += [
                _target_sequence(number, next(units), n, fact.tokens.chat[form], (of_fact * part, of_fact * part, 0.0))
                for n, form, part in chats
            ]
        if kl_factor > 0:
            essence = group.facts[0].tokens.essence
            sequences.append(
                ValueSequence(
                    number, next(units), BARE, essence.prompt, essence.subject_last, 0, (), kl_factor, 0.0, 0.0
                )
            )
    return sequences


def _target_sequence(group: int, unit: int, context: int, text: PromptTokens, weights: _Weights) -> ValueSequence:
    first_predicting = len(text.prompt) - 1 - text.subject_last
    return ValueSequence(
        group, unit, context, text.prompt + text.target[:-1], text.subject_last, first_predicting, text.target, *weights
    )


def subject_only(sequence: ValueSequence) -> ValueSequence:
    """The sequence cut after the subject's last token: all that keys and states need."""
    return replace(
        sequence, tokens=sequence.tokens[: sequence.subject + 1], first_predicting=0, labels=(), loss_weight=0.0
    )
