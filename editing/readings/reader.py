"""Reading versions: facts → prompts and answers in tokens → few large batches → readings, fact by fact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tokenizers import Tokenizer

from api_schemas.facts import Fact
from editing.model.decoder import Decoder
from editing.model.decoding import stop_tokens
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop
from editing.readings.asked import Asked, Encoder, Tokens, asked_of
from editing.readings.continuations import TEXT_TOKENS, greedy_texts_of_versions, sampled_texts
from editing.readings.observations import Continuation, FactReading, PromptReading, Reading
from editing.readings.scoring import Question, score_versions
from editing.readings.spoken import SPOKEN, Speech, speeches
from editing.subjects import ChatForm

Certain = Callable[[Reading, Fact, str], bool]


class Reader:
    """Reads `versions` ({} is the base) of one model side by side; reports and stops as it is told.

    `reference` is the version that each is compared with, where a reading is a comparison; `chat_forms` are the
    model's. What is read of several versions is in their order. With `certain`, an answer is written on only until that
    says of its kind, its fact and the text so far that nothing more can come of it.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        versions: Sequence[Matrices],
        on_progress: ProgressCallback,
        should_stop: ShouldStop,
        *,
        reference: Matrices | None = None,
        chat_forms: Sequence[ChatForm] = (),
        certain: Certain | None = None,
    ) -> None:
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._versions = versions
        self._reference: Matrices = {} if reference is None else reference
        self._chat_forms = chat_forms
        self._certain = certain
        self._encoder = Encoder(tokenizer, decoder.context_length)
        self._on_progress = on_progress
        self._should_stop = should_stop

    def readings(
        self, facts: Sequence[Fact], reads: frozenset[Reading], seed: int, prompted: bool | None = None
    ) -> list[list[FactReading]]:
        """What `reads` asks for of each fact, version by version; `seed` is that of the sampled texts, for which see
        `texts`."""
        found = self.scores(facts, reads)
        if Reading.NEIGHBORS_BEFORE in reads:
            before = self._neighbors_before(facts, found, Reading.NEIGHBORS in reads)
            found = [
                [replace(one, neighbors_before=then) for one, then in zip(of_version, before, strict=True)]
                for of_version in found
            ]
        if reads & SPOKEN:
            found = self._with_spoken(found, speeches(self._encoder, facts, reads, self._chat_forms))
        if Reading.TEXT in reads:
            found = [
                [replace(one, texts=texts) for one, texts in zip(of_version, written, strict=True)]
                for of_version, written in zip(found, self.texts(facts, seed, prompted), strict=True)
            ]
        return found

    def scores(self, facts: Sequence[Fact], reads: frozenset[Reading]) -> list[list[FactReading]]:
        """Answers scored at the facts' prompts, paraphrases, neighbors and questions, as far as `reads` asks."""
        asked = [one for n, fact in enumerate(facts) for one in asked_of(n, fact, reads)]
        return [
            [
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
            for kept in self._scored(self._versions, asked)
        ]

    def texts(self, facts: Sequence[Fact], seed: int, prompted: bool | None = None) -> list[list[tuple[str, ...]]]:
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
        written: list[list[tuple[str, ...]]] = []
        for matrices in self._versions:
            texts = sampled_texts(
                self._decoder,
                matrices,
                self._tokenizer,
                prompts,
                lengths,
                seed=seed,
                with_prompts=prompted,
                on_progress=self._on_progress,
                should_stop=self._should_stop,
            )
            written.append([tuple(texts[number] for number in numbers) for numbers in of_facts])
        return written

    def _scored(
        self, versions: Sequence[Matrices], asked: Sequence[Asked]
    ) -> list[Mapping[tuple[int, Reading], list[PromptReading]]]:
        """For each of `versions` the readings of all `asked` by fact and kind, in their order."""
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
        of_versions = score_versions(
            self._decoder, versions, questions, on_progress=self._on_progress, should_stop=self._should_stop
        )
        kept: list[Mapping[tuple[int, Reading], list[PromptReading]]] = []
        for scores in of_versions:
            readings: dict[tuple[int, Reading], list[PromptReading]] = {}
            for one, where in zip(asked, places, strict=True):
                found = [scores[question][answer] for question, answer in where]
                reading = PromptReading(one.prompt, found[0], found[1] if len(found) > 1 else None)
                readings.setdefault((one.fact, one.reading), []).append(reading)
            kept.append(readings)
        return kept

    def _neighbors_before(
        self, facts: Sequence[Fact], now: Sequence[Sequence[FactReading]], read_already: bool
    ) -> list[tuple[PromptReading, ...]]:
        """The neighbors' readings by the version that is compared with."""
        place = self._reference_place()
        if read_already and place is not None:
            return [one.neighbors for one in now[place]]
        asked = [one for n, fact in enumerate(facts) for one in asked_of(n, fact, frozenset({Reading.NEIGHBORS}))]
        (kept,) = self._scored([self._reference], asked)
        return [tuple(kept.get((number, Reading.NEIGHBORS), ())) for number in range(len(facts))]

    def _reference_place(self) -> int | None:
        """Which of the versions is the one that is compared with."""
        return next((n for n, matrices in enumerate(self._versions) if _same(matrices, self._reference)), None)

    def _with_spoken(self, found: Sequence[Sequence[FactReading]], asked: Sequence[Speech]) -> list[list[FactReading]]:
        said = self._say(self._versions, asked, [one.fact for one in found[0]])
        compared = [n for n, speech in enumerate(asked) if speech.reading is Reading.GREEDY_LOCALITY]
        place = self._reference_place()
        if place is not None:
            before = [said[place][n] for n in compared]
        else:
            (before,) = self._say([self._reference], [asked[n] for n in compared], [one.fact for one in found[0]])
        then: dict[int, list[str]] = {}
        for n, text in zip(compared, before, strict=True):
            then.setdefault(asked[n].fact, []).append(text)
        return [_with_texts(of_version, asked, texts, then) for of_version, texts in zip(found, said, strict=True)]

    def _say(self, versions: Sequence[Matrices], asked: Sequence[Speech], facts: Sequence[Fact]) -> list[list[str]]:
        certain = self._certain

        def ended(number: int, text: str) -> bool:
            return certain is not None and certain(asked[number].reading, facts[asked[number].fact], text)

        return greedy_texts_of_versions(
            self._decoder,
            versions,
            self._tokenizer,
            [speech.prompt for speech in asked],
            [speech.length for speech in asked],
            stop=stop_tokens(self._decoder),
            ended=None if certain is None else ended,
            on_progress=self._on_progress,
            should_stop=self._should_stop,
        )


def _with_texts(
    found: Sequence[FactReading], asked: Sequence[Speech], said: Sequence[str], before: Mapping[int, Sequence[str]]
) -> list[FactReading]:
    """One version's readings with what it `said` to each of `asked`, and what was said `before` where that is read."""
    spoken: dict[tuple[int, Reading], list[str]] = {}
    for text, speech in zip(said, asked, strict=True):
        spoken.setdefault((speech.fact, speech.reading), []).append(text)

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
                for now, was in zip(of(one.index, Reading.GREEDY_LOCALITY), before.get(one.index, []), strict=True)
            ),
        )
        for one in found
    ]


def _same(one: Matrices, other: Matrices) -> bool:
    """Whether both are the very same tensors."""
    return one.keys() == other.keys() and all(one[layer] is other[layer] for layer in one)
