"""Reading a version: facts → prompts and answers in tokens → few large batches → readings, fact by fact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tokenizers import Tokenizer

from api_schemas.facts import Fact
from editing.model.decoder import Decoder
from editing.model.decoding import stop_tokens
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop
from editing.readings.asked import Asked, Encoder, Tokens, asked_of
from editing.readings.continuations import TEXT_TOKENS, greedy_texts, sampled_texts
from editing.readings.observations import Continuation, FactReading, PromptReading, Reading
from editing.readings.scoring import Question, score
from editing.readings.spoken import SPOKEN, Speech, speeches
from editing.subjects import ChatForm


class Reader:
    """Reads the version `matrices` ({} is the base) of one model; reports and stops as it is told.

    `reference` is the version that it is compared with, where a reading is a comparison; `chat_forms` are the model's.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        matrices: Matrices,
        on_progress: ProgressCallback,
        should_stop: ShouldStop,
        *,
        reference: Matrices | None = None,
        chat_forms: Sequence[ChatForm] = (),
    ) -> None:
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._matrices = matrices
        self._reference: Matrices = {} if reference is None else reference
        self._chat_forms = chat_forms
        self._encoder = Encoder(tokenizer, decoder.context_length)
        self._on_progress = on_progress
        self._should_stop = should_stop

    def readings(
        self, facts: Sequence[Fact], reads: frozenset[Reading], seed: int, prompted: bool | None = None
    ) -> list[FactReading]:
        """What `reads` asks for of each fact; `seed` is that of the sampled texts, for which see `texts`."""
        found = self.scores(facts, reads)
        if Reading.NEIGHBORS_BEFORE in reads:
            before = self._neighbors_before(facts, found, Reading.NEIGHBORS in reads)
            found = [replace(one, neighbors_before=then) for one, then in zip(found, before, strict=True)]
        if reads & SPOKEN:
            found = self._with_spoken(found, speeches(self._encoder, facts, reads, self._chat_forms))
        if Reading.TEXT in reads:
            found = [
                replace(one, texts=texts) for one, texts in zip(found, self.texts(facts, seed, prompted), strict=True)
            ]
        return found

    def scores(self, facts: Sequence[Fact], reads: frozenset[Reading]) -> list[FactReading]:
        """Answers scored at the facts' prompts, paraphrases, neighbors and questions, as far as `reads` asks."""
        kept = self._scored(self._matrices, [one for n, fact in enumerate(facts) for one in asked_of(n, fact, reads)])
        return [
            FactReading(
                index=number,
                fact=fact,
                prompt=next(iter(kept.get((number, Reading.PROMPT), ())), None),
                paraphrases=tuple(kept.get((number, Reading.PARAPHRASES), ())),
                neighbors=tuple(kept.get((number, Reading.NEIGHBORS), ())),
                portability=tuple(kept.get((number, Reading.PORTABILITY), ())),
            )
            for number, fact in enumerate(facts)
        ]

    def texts(self, facts: Sequence[Fact], seed: int, prompted: bool | None = None) -> list[tuple[str, ...]]:
        """Sampled texts of 100 tokens, prompt included, from each of the facts' generation prompts.

        Where no fact has any: one of 100 tokens after each fact's prompt, without it. `prompted` says whether one has,
        where these are some of the facts that are measured together.
        """
        if prompted is None:
            prompted = any(fact.generation_prompts for fact in facts)
        prompts: list[Tokens] = []
        of_facts: list[range] = []
        for number, fact in enumerate(facts):
            first = len(prompts)
            if prompted:
                for n, text in enumerate(fact.generation_prompts):
                    prompts.append(self._encoder.alone(number, f"generation_prompts[{n}]", text))
            else:
                asked = Asked(number, Reading.PROMPT, "prompt", fact.text, fact.target_new, None)
                prompts.append(self._encoder.with_answer(asked, fact.target_new)[0])
            of_facts.append(range(first, len(prompts)))
        room = self._decoder.context_length
        lengths = [
            min(max(1, TEXT_TOKENS - len(prompt)) if prompted else TEXT_TOKENS, room - len(prompt))
            for prompt in prompts
        ]
        texts = sampled_texts(
            self._decoder,
            self._matrices,
            self._tokenizer,
            prompts,
            lengths,
            seed=seed,
            with_prompts=prompted,
            on_progress=self._on_progress,
            should_stop=self._should_stop,
        )
        return [tuple(texts[number] for number in numbers) for numbers in of_facts]

    def _scored(self, matrices: Matrices, asked: Sequence[Asked]) -> Mapping[tuple[int, Reading], list[PromptReading]]:
        """The readings of all `asked` by fact and kind, in their order."""
        questions: list[Question] = []
        places: list[list[tuple[int, int]]] = []
        for one in asked:
            answers = [self._encoder.with_answer(one, text) for text in (one.new, one.old) if text is not None]
            if len({prompt for prompt, _ in answers}) == 1:  # the prompt runs once for both answers
                questions.append(Question(answers[0][0], tuple(answer for _, answer in answers)))
                places.append([(len(questions) - 1, n) for n in range(len(answers))])
            else:
                questions += [Question(prompt, (answer,)) for prompt, answer in answers]
                places.append([(len(questions) - len(answers) + n, 0) for n in range(len(answers))])
        scores = score(self._decoder, matrices, questions, on_progress=self._on_progress, should_stop=self._should_stop)
        kept: dict[tuple[int, Reading], list[PromptReading]] = {}
        for one, where in zip(asked, places, strict=True):
            found = [scores[question][answer] for question, answer in where]
            reading = PromptReading(one.prompt, found[0], found[1] if len(found) > 1 else None)
            kept.setdefault((one.fact, one.reading), []).append(reading)
        return kept

    def _neighbors_before(
        self, facts: Sequence[Fact], now: Sequence[FactReading], read_already: bool
    ) -> list[tuple[PromptReading, ...]]:
        """The neighbors' readings by the version that is compared with."""
        if read_already and _same(self._matrices, self._reference):
            return [one.neighbors for one in now]
        reads = frozenset({Reading.NEIGHBORS})
        kept = self._scored(self._reference, [one for n, fact in enumerate(facts) for one in asked_of(n, fact, reads)])
        return [tuple(kept.get((number, Reading.NEIGHBORS), ())) for number in range(len(facts))]

    def _with_spoken(self, found: Sequence[FactReading], asked: Sequence[Speech]) -> list[FactReading]:
        said = self._say(self._matrices, asked)
        compared = [speech for speech in asked if speech.reading is Reading.GREEDY_LOCALITY]
        if _same(self._matrices, self._reference):
            before = [
                text for text, speech in zip(said, asked, strict=True) if speech.reading is Reading.GREEDY_LOCALITY
            ]
        else:
            before = self._say(self._reference, compared)
        spoken: dict[tuple[int, Reading], list[str]] = {}
        for text, speech in zip(said, asked, strict=True):
            spoken.setdefault((speech.fact, speech.reading), []).append(text)
        then: dict[int, list[str]] = {}
        for text, speech in zip(before, compared, strict=True):
            then.setdefault(speech.fact, []).append(text)

        def of(number: int, reading: Reading) -> tuple[str, ...]:
            return tuple(spoken.get((number, reading), ()))

        return [
            replace(
                one,
                greedy=next(iter(of(one.index, Reading.GREEDY)), None),
                greedy_paraphrases=of(one.index, Reading.GREEDY_PARAPHRASES),
                greedy_chat=of(one.index, Reading.GREEDY_CHAT),
                greedy_portability=of(one.index, Reading.GREEDY_PORTABILITY),
                locality=tuple(
                    Continuation(now, was)
                    for now, was in zip(of(one.index, Reading.GREEDY_LOCALITY), then.get(one.index, []), strict=True)
                ),
            )
            for one in found
        ]

    def _say(self, matrices: Matrices, asked: Sequence[Speech]) -> list[str]:
        return greedy_texts(
            self._decoder,
            matrices,
            self._tokenizer,
            [speech.prompt for speech in asked],
            [speech.length for speech in asked],
            stop=stop_tokens(self._decoder),
            on_progress=self._on_progress,
            should_stop=self._should_stop,
        )


def _same(one: Matrices, other: Matrices) -> bool:
    """Whether both are the very same tensors."""
    return one.keys() == other.keys() and all(one[layer] is other[layer] for layer in one)
