"""Reading a version: facts → prompts and answers in tokens → few large batches → readings, fact by fact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tokenizers import Tokenizer

from api_schemas.facts import Fact
from editing.errors import FactError, FactLengthError
from editing.model.decoder import Decoder
from editing.model.decoding import stop_tokens
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop
from editing.readings.continuations import TEXT_TOKENS, greedy_texts, sampled_texts
from editing.readings.observations import FactReading, PromptReading, Reading
from editing.readings.scoring import Question, score
from editing.subjects import target_tokens

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class _Asked:
    """One prompt of one fact to be scored: its new target and, where known, the old one (the neighbor's answer)."""

    fact: int
    reading: Reading
    field: str
    prompt: str
    new: str
    old: str | None


class Reader:
    """Reads the version `matrices` ({} is the base) of one model; reports and stops as it is told."""

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        matrices: Matrices,
        on_progress: ProgressCallback,
        should_stop: ShouldStop,
    ) -> None:
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._matrices = matrices
        self._on_progress = on_progress
        self._should_stop = should_stop

    def readings(self, facts: Sequence[Fact], reads: frozenset[Reading], seed: int) -> list[FactReading]:
        """What `reads` asks for of each fact; `seed` is that of the sampled texts."""
        found = self.scores(facts, reads)
        if Reading.GREEDY in reads:
            found = [replace(one, greedy=text) for one, text in zip(found, self.greedy(facts), strict=True)]
        if Reading.TEXT in reads:
            found = [replace(one, text=text) for one, text in zip(found, self.texts(facts, seed), strict=True)]
        return found

    def scores(self, facts: Sequence[Fact], reads: frozenset[Reading]) -> list[FactReading]:
        """Answers scored at the facts' prompts, paraphrases and neighbors, as far as `reads` asks for them."""
        asked = [one for number, fact in enumerate(facts) for one in _asked(number, fact, reads)]
        questions: list[Question] = []
        places: list[list[tuple[int, int]]] = []
        for one in asked:
            answers = [self._encode(one, text) for text in (one.new, one.old) if text is not None]
            if len({prompt for prompt, _ in answers}) == 1:  # the prompt runs once for both answers
                questions.append(Question(answers[0][0], tuple(answer for _, answer in answers)))
                places.append([(len(questions) - 1, n) for n in range(len(answers))])
            else:
                questions += [Question(prompt, (answer,)) for prompt, answer in answers]
                places.append([(len(questions) - len(answers) + n, 0) for n in range(len(answers))])
        scores = score(
            self._decoder, self._matrices, questions, on_progress=self._on_progress, should_stop=self._should_stop
        )
        kept: list[dict[Reading, list[PromptReading]]] = [{} for _ in facts]
        for one, where in zip(asked, places, strict=True):
            found = [scores[question][answer] for question, answer in where]
            reading = PromptReading(one.prompt, found[0], found[1] if len(found) > 1 else None)
            kept[one.fact].setdefault(one.reading, []).append(reading)
        return [
            FactReading(
                index=number,
                fact=fact,
                prompt=next(iter(of_fact.get(Reading.PROMPT, ())), None),
                paraphrases=tuple(of_fact.get(Reading.PARAPHRASES, ())),
                neighbors=tuple(of_fact.get(Reading.NEIGHBORS, ())),
            )
            for number, (fact, of_fact) in enumerate(zip(facts, kept, strict=True))
        ]

    def greedy(self, facts: Sequence[Fact]) -> list[str]:
        """What the version says after each fact's prompt; somewhat longer than the target, which can be spelt anew."""
        encoded = [self._encode(one, one.new) for one in _prompts(facts)]
        prompts = [prompt for prompt, _ in encoded]
        lengths = [2 * len(answer) + 2 for _, answer in encoded]
        return greedy_texts(
            self._decoder,
            self._matrices,
            self._tokenizer,
            prompts,
            self._within(prompts, lengths),
            stop=stop_tokens(self._decoder),
            on_progress=self._on_progress,
            should_stop=self._should_stop,
        )

    def texts(self, facts: Sequence[Fact], seed: int) -> list[str]:
        """A sampled text of 100 tokens after each fact's prompt."""
        prompts = [self._encode(one, one.new)[0] for one in _prompts(facts)]
        return sampled_texts(
            self._decoder,
            self._matrices,
            self._tokenizer,
            prompts,
            self._within(prompts, [TEXT_TOKENS] * len(prompts)),
            seed=seed,
            on_progress=self._on_progress,
            should_stop=self._should_stop,
        )

    def _within(self, prompts: Sequence[Tokens], lengths: Sequence[int]) -> list[int]:
        """`lengths`, cut where the model's context ends."""
        room = self._decoder.context_length
        return [min(length, room - len(prompt)) for prompt, length in zip(prompts, lengths, strict=True)]

    def _encode(self, asked: _Asked, target: str) -> tuple[Tokens, Tokens]:
        prompt, answer = target_tokens(self._tokenizer, asked.prompt, target)
        if not prompt or not answer:
            empty = "prompt" if not prompt else "target"
            message = f"{asked.field}: the {empty} has no token in this model; give other text"
            raise FactError(asked.fact, asked.field, message)
        needed, room = len(prompt) + len(answer), self._decoder.context_length
        if needed > room:
            message = (
                f"{asked.field} and its target need {needed} tokens and the model reads at most {room}; shorten it"
            )
            raise FactLengthError(asked.fact, asked.field, message)
        return prompt, answer


def _prompts(facts: Sequence[Fact]) -> list[_Asked]:
    return [one for number, fact in enumerate(facts) for one in _asked(number, fact, frozenset({Reading.PROMPT}))]


def _asked(number: int, fact: Fact, reads: frozenset[Reading]) -> Iterator[_Asked]:
    if Reading.PROMPT in reads:
        yield _Asked(number, Reading.PROMPT, "prompt", fact.text, fact.target_new, fact.target_old)
    if Reading.PARAPHRASES in reads:
        for n, text in enumerate(fact.paraphrases):
            yield _Asked(number, Reading.PARAPHRASES, f"paraphrases[{n}]", text, fact.target_new, fact.target_old)
    if Reading.NEIGHBORS in reads:
        for n, neighbor in enumerate(fact.neighbors):
            field = f"neighbors[{n}].prompt"
            yield _Asked(number, Reading.NEIGHBORS, field, neighbor.prompt, fact.target_new, neighbor.target)
