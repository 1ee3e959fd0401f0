"""Tokenises a batch's facts, groups them by subject and cuts the groups into shards."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from api_schemas.facts import Fact, subject_key
from editing.errors import FactError, FactLengthError, SubjectNotFoundError
from editing.model.batching import even_parts
from editing.subjects import ChatForm, FactTokens, FactTokensError, chat_opening_tokens, check_length, fact_tokens


@dataclass(frozen=True)
class TokenizedFact:
    """`index` is the fact's position in the batch as the caller sent it."""

    index: int
    fact: Fact
    tokens: FactTokens

    @property
    def begins_text(self) -> bool:
        """The subject's last token is the first that the model reads, where it rests its attention whatever the token
        is: its key is nearly that of every other text's first token, and writing there would change them all."""
        return self.tokens.bare.subject_last == 0

    @property
    def shares_token(self) -> bool:
        """The subject's last token holds the punctuation that follows it, too."""
        return self.tokens.bare.is_shared or self.tokens.continued.is_shared


@dataclass(frozen=True)
class SubjectGroup:
    """The facts of one batch about one subject: they share one δ and one key.

    Their keys are nearly the same, so an equality constraint with different values for them would be ill-posed.
    """

    subject: str
    facts: tuple[TokenizedFact, ...]


def tokenize_facts(
    tokenizer: Tokenizer,
    facts: Sequence[Fact],
    context_length: int,
    reserve: int = 0,
    chat_forms: Sequence[ChatForm] = (),
) -> tuple[TokenizedFact, ...]:
    """Facts → tokens. Raises SubjectNotFoundError or FactLengthError with the fact's index.

    `reserve` is the number of tokens kept for a context text before a prompt; `chat_forms` are those that the prompts
    are asked in, too.
    """
    tokenized = _tokenizing(tokenizer, context_length, reserve, chat_forms)
    return tuple(tokenized(index, fact) for index, fact in enumerate(facts))


def tokenize_fitting(
    tokenizer: Tokenizer,
    facts: Sequence[Fact],
    context_length: int,
    reserve: int = 0,
    chat_forms: Sequence[ChatForm] = (),
) -> tuple[TokenizedFact, ...]:
    """As `tokenize_facts`, without the facts that it would refuse; `index` is the position among all of `facts`."""
    tokenized = _tokenizing(tokenizer, context_length, reserve, chat_forms)
    fitting = []
    for index, fact in enumerate(facts):
        with contextlib.suppress(FactError):
            fitting.append(tokenized(index, fact))
    return tuple(fitting)


def _tokenizing(
    tokenizer: Tokenizer, context_length: int, reserve: int, chat_forms: Sequence[ChatForm]
) -> Callable[[int, Fact], TokenizedFact]:
    """(index, fact) → its tokens, for many facts whose chat forms are alike."""
    openings = [len(chat_opening_tokens(tokenizer, form)) for form in chat_forms]

    def tokenized(index: int, fact: Fact) -> TokenizedFact:
        try:
            tokens = fact_tokens(tokenizer, fact, chat_forms)
        except FactTokensError as error:
            raise SubjectNotFoundError(index, error.field, error.message) from error
        try:
            check_length(tokens, context_length, reserve, openings)
        except FactTokensError as error:
            raise FactLengthError(index, error.field, error.message) from error
        return TokenizedFact(index, fact, tokens)

    return tokenized


def group_by_subject(facts: Sequence[TokenizedFact]) -> tuple[SubjectGroup, ...]:
    """Groups in the order in which their subjects first appear; white space around a subject does not count."""
    groups: dict[str, list[TokenizedFact]] = {}
    for fact in facts:
        groups.setdefault(subject_key(fact.fact.subject), []).append(fact)
    return tuple(SubjectGroup(subject, tuple(members)) for subject, members in groups.items())


def tokens_per_step(group: SubjectGroup, contexts: int) -> int:
    """What one optimiser step on `group` costs: tokens that run through the upper layers, for all forms and KL.

    `contexts` is the number of context texts.
    """
    cost = 1
    for fact in group.facts:
        bare, continued = fact.tokens.bare, fact.tokens.continued
        answer = max(len(bare.target) - 1, 0)
        cost += len(bare.prompt) - bare.subject_last + answer
        cost += contexts * (len(continued.prompt) - continued.subject_last + answer)
        cost += sum(chat.length - chat.subject_last - 1 for chat in fact.tokens.chat)
    return cost


def tokens_once(group: SubjectGroup, contexts: int) -> int:
    """What `group` costs before the first step: the tokens of its whole sequences, which run once."""
    cost = len(group.facts[0].tokens.essence.prompt)
    for fact in group.facts:
        cost += fact.tokens.bare.length + contexts * fact.tokens.continued.length
        cost += sum(chat.length for chat in fact.tokens.chat)
    return cost


def cut_shards(groups: Sequence[SubjectGroup], contexts: int, tokens: int, steps: int) -> tuple[tuple[int, ...], ...]:
    """Cut `groups` into shards of about `tokens` tokens per optimiser step; a shard is a tuple of their indices.

    What runs once is spread over the `steps` that are expected: with long prompts it is most of the work. Groups of
    like length stay together, since sequences of one length need no padding; a group is never cut, however many facts
    are about its subject, since they share one value. All shards cost nearly the same, so that none is a mere rest.
    """
    step_costs = [tokens_per_step(group, contexts) for group in groups]
    single_costs = [tokens_once(group, contexts) for group in groups]
    costs = [step + before / steps for step, before in zip(step_costs, single_costs, strict=True)]
    order = sorted(range(len(groups)), key=lambda number: (step_costs[number], number))
    parts = max(1, math.ceil(sum(costs) / max(tokens, 1)))
    shards = even_parts([costs[number] for number in order], parts)
    return tuple(tuple(order[place] for place in shard) for shard in shards)
