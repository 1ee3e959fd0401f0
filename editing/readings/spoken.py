"""What a version says to facts' prompts as a person would read it: greedy, free running, up to its own end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from api_schemas.facts import Fact
from editing.readings.asked import Asked, Encoder, Tokens
from editing.readings.observations import Reading
from editing.subjects import ChatForm

SPOKEN_TOKENS: Final = 32
"""How much is read of an answer that must contain the target."""
LOCALITY_TOKENS: Final = 16
"""How much of a continuation must stay as it was."""

SPOKEN: Final = frozenset(
    {
        Reading.GREEDY,
        Reading.GREEDY_PARAPHRASES,
        Reading.GREEDY_CHAT,
        Reading.GREEDY_PORTABILITY,
        Reading.GREEDY_LOCALITY,
    }
)


@dataclass(frozen=True)
class Speech:
    """A prompt of fact `fact` in tokens, and how many tokens are said after it at most."""

    fact: int
    reading: Reading
    prompt: Tokens
    length: int


def speeches(
    encoder: Encoder, facts: Sequence[Fact], reads: frozenset[Reading], forms: Sequence[ChatForm]
) -> list[Speech]:
    """All prompts that `reads` has answered, in the facts' order, so that those of like length run together.

    A length is cut where the model's context ends; a conversation that leaves no room for an answer is left out.
    Raises FactError and FactLengthError.
    """
    return [speech for number, fact in enumerate(facts) for speech in _of_fact(encoder, number, fact, reads, forms)]


def _of_fact(
    encoder: Encoder, number: int, fact: Fact, reads: frozenset[Reading], forms: Sequence[ChatForm]
) -> Iterator[Speech]:
    def speech(reading: Reading, prompt: Tokens, length: int) -> Speech:
        return Speech(number, reading, prompt, min(length, encoder.context_length - len(prompt)))

    if Reading.GREEDY in reads:
        asked = Asked(number, Reading.GREEDY, "prompt", fact.text, fact.target_new, None)
        prompt, _ = encoder.with_answer(asked, fact.target_new)
        # Room for an answer that is spelt in other tokens than the tokenizer's own.
        longest = max(len(encoder.with_answer(asked, answer)[1]) for answer in fact.answers)
        yield speech(Reading.GREEDY, prompt, 2 * longest + 2)
    if Reading.GREEDY_PARAPHRASES in reads:
        for n, text in enumerate(fact.paraphrases):
            yield speech(Reading.GREEDY_PARAPHRASES, encoder.alone(number, f"paraphrases[{n}]", text), SPOKEN_TOKENS)
    if Reading.GREEDY_CHAT in reads:
        for form in forms:
            conversation = encoder.in_conversation(form.before + fact.text + form.after)
            if conversation is not None:
                yield speech(Reading.GREEDY_CHAT, conversation, SPOKEN_TOKENS)
    if Reading.GREEDY_PORTABILITY in reads:
        for n, question in enumerate(fact.portability):
            prompt = encoder.alone(number, f"portability[{n}].prompt", question.prompt)
            yield speech(Reading.GREEDY_PORTABILITY, prompt, SPOKEN_TOKENS)
    if Reading.GREEDY_LOCALITY in reads:
        for n, other in enumerate(fact.locality):
            prompt = encoder.alone(number, f"locality[{n}].prompt", other.prompt)
            yield speech(Reading.GREEDY_LOCALITY, prompt, LOCALITY_TOKENS)
