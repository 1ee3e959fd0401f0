"""The prompts at which answers to facts are scored, and how they are written in a model's tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import Tokenizer

from api_schemas.facts import Fact
from editing.errors import FactError, FactLengthError
from editing.readings.observations import Reading
from editing.subjects import target_tokens

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Asked:
    """One prompt of one fact to be scored: its new target and, where known, the old one (the neighbor's answer)."""

    fact: int
    reading: Reading
    field: str
    prompt: str
    new: str
    old: str | None


def asked_of(number: int, fact: Fact, reads: frozenset[Reading]) -> Iterator[Asked]:
    """What `reads` has scored of fact `number`."""
    if Reading.PROMPT in reads:
        yield Asked(number, Reading.PROMPT, "prompt", fact.text, fact.target_new, fact.target_old)
    if Reading.PARAPHRASES in reads:
        for n, text in enumerate(fact.paraphrases):
            yield Asked(number, Reading.PARAPHRASES, f"paraphrases[{n}]", text, fact.target_new, fact.target_old)
    if Reading.NEIGHBORS in reads:
        for n, neighbor in enumerate(fact.neighbors):
            field = f"neighbors[{n}].prompt"
            yield Asked(number, Reading.NEIGHBORS, field, neighbor.prompt, fact.target_new, neighbor.target)
    if Reading.PORTABILITY in reads:
        for n, question in enumerate(fact.portability):
            field = f"portability[{n}].prompt"
            yield Asked(number, Reading.PORTABILITY, field, question.prompt, question.target, question.target_old)


class Encoder:
    """Writes prompts in the tokens of one model; refuses those that it cannot read, naming fact and field."""

    def __init__(self, tokenizer: Tokenizer, context_length: int) -> None:
        self._tokenizer = tokenizer
        self.context_length = context_length

    def with_answer(self, asked: Asked, target: str) -> tuple[Tokens, Tokens]:
        """Tokens of the prompt, and of `target` after it. Raises FactError and FactLengthError."""
        prompt, answer = target_tokens(self._tokenizer, asked.prompt, target)
        if not prompt or not answer:
            raise _no_token(asked.fact, asked.field, "prompt" if not prompt else "target")
        needed = len(prompt) + len(answer)
        if needed > self.context_length:
            message = (
                f"{asked.field} and its target need {needed} tokens and the model reads at most "
                f"{self.context_length}; shorten it"
            )
            raise FactLengthError(asked.fact, asked.field, message)
        return prompt, answer

    def alone(self, fact: int, field: str, text: str) -> Tokens:
        """Tokens of a prompt that is gone on from. Raises FactError and FactLengthError."""
        prompt, _ = target_tokens(self._tokenizer, text, "")
        if not prompt:
            raise _no_token(fact, field, "prompt")
        if len(prompt) >= self.context_length:
            message = (
                f"{field} needs {len(prompt)} tokens and the model reads at most {self.context_length}, an answer "
                "included; shorten it"
            )
            raise FactLengthError(fact, field, message)
        return prompt

    def in_conversation(self, text: str) -> Tokens | None:
        """Tokens of a conversation up to its answer; None where there is no room for one."""
        tokens = tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return tokens if len(tokens) < self.context_length else None


def _no_token(fact: int, field: str, what: str) -> FactError:
    return FactError(fact, field, f"{field}: the {what} has no token in this model; give other text")
