"""Many answers at once against one sequence at a time through the merged model."""

from __future__ import annotations

import random
import threading

import pytest
import torch
from torch import Tensor

from editing.errors import EditInterrupted
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.model.token_sequences import TokenSequences, padded_batches
from editing.readings.perplexity import perplexity, predicted_tokens
from editing.readings.scoring import AnswerScore, Question, score, score_versions
from tests.support import plain
from tests.support.tiny_models import CONFIGS, VOCABULARY, tiny_model


def tokens(generator: random.Random, length: int) -> tuple[int, ...]:
    return tuple(generator.randrange(VOCABULARY) for _ in range(length))


def questions(count: int, seed: int = 0) -> list[Question]:
    """Prompts of 1 to 20 tokens with one, two or three answers of 1 to 5 tokens."""
    generator = random.Random(seed)
    return [
        Question(
            tokens(generator, generator.randint(1, 20)),
            tuple(tokens(generator, generator.randint(1, 5)) for _ in range(generator.randint(1, 3))),
        )
        for _ in range(count)
    ]


def edited(name: str, layer: int = 1) -> dict[int, Tensor]:
    weight = plain.projection_of(tiny_model(name), layer).weight
    noise = torch.randn(weight.shape, dtype=weight.dtype, generator=torch.Generator().manual_seed(3))
    return {layer: (weight + 0.3 * noise).detach()}


@pytest.mark.parametrize(
    ("name", "attention"), [(name, "eager") for name in CONFIGS] + [("gpt2", "sdpa"), ("llama-gqa", "sdpa")]
)
def test_each_answer_is_scored_as_if_alone(name: str, attention: str) -> None:
    asked = questions(8)
    # Greedy answers too, so that some are said.
    model = tiny_model(name, attention="eager")
    asked += [Question(q.prompt, (tuple(plain.greedy(model, q.prompt, 3)), q.answers[0])) for q in asked[:2]]
    matrices = edited(name)
    decoder = Decoder(tiny_model(name, attention=attention))
    tolerance = 1e-9 if attention == "sdpa" or name == "gptj" else 1e-5  # eager attention rounds to float32
    for version in (matrices, {}) if attention == "sdpa" else (matrices,):
        found = score(decoder, version, asked, most_tokens=120)
        alone = plain.merged(tiny_model(name, attention=attention), version)
        for question, answers in zip(asked, found, strict=True):
            for answer, got in zip(question.answers, answers, strict=True):
                log_probability, said = plain.log_probabilities(alone, question.prompt, answer)
                assert got.log_probability == pytest.approx(log_probability, abs=tolerance)
                assert got.said == said
    assert any(answers[0].said for answers in score(decoder, {}, asked[-2:]))


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize("layers", [(2,), (0, 3)])
def test_versions_side_by_side_score_as_each_alone(name: str, layers: tuple[int, ...]) -> None:
    decoder, asked = Decoder(tiny_model(name)), questions(6)
    one = {layer: decoder.projections[layer].weight * 1.5 for layer in layers}
    more = {**one, 3: decoder.projections[3].weight * 0.5}
    versions: list[Matrices] = [{}, one, more, one]
    for most_tokens in (60, 10_000):
        together = score_versions(decoder, versions, asked, most_tokens=most_tokens)
        for of_version, version in zip(together, versions, strict=True):
            for some, others in zip(of_version, score(decoder, version, asked), strict=True):
                assert [one.log_probability for one in some] == pytest.approx([o.log_probability for o in others])
                assert [one.predicted for one in some] == [one.predicted for one in others]
        assert together[1] != together[0]


def test_batches_do_not_change_a_score() -> None:
    asked, decoder = questions(12), Decoder(tiny_model("llama"))
    whole = score(decoder, {}, asked, most_tokens=10_000)
    for most_tokens in (1, 64, 300):
        for some, others in zip(score(decoder, {}, asked, most_tokens=most_tokens), whole, strict=True):
            for one, other in zip(some, others, strict=True):
                assert one.log_probability == pytest.approx(other.log_probability, abs=1e-10)


def test_threads_see_the_version_that_they_asked_for() -> None:
    asked, decoder, matrices = questions(10), Decoder(tiny_model("llama")), edited("llama")
    alone = {"base": score(decoder, {}, asked), "edited": score(decoder, matrices, asked)}
    found: dict[str, list[list[tuple[AnswerScore, ...]]]] = {"base": [], "edited": []}

    def read(which: str) -> None:
        for _ in range(6):
            found[which].append(score(decoder, matrices if which == "edited" else {}, asked, most_tokens=40))

    threads = [threading.Thread(target=read, args=(which,)) for which in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for which, runs in found.items():
        assert len(runs) == 6
        for run in runs:
            for some, others in zip(run, alone[which], strict=True):
                for one, other in zip(some, others, strict=True):
                    assert one.log_probability == pytest.approx(other.log_probability, abs=1e-10)
    assert alone["base"] != alone["edited"]


def test_scoring_reports_and_stops() -> None:
    asked, decoder = questions(10), Decoder(tiny_model("llama"))
    seen: list[tuple[str, int, int]] = []
    score(decoder, {}, asked, most_tokens=40, on_progress=lambda *at: seen.append(at))
    assert seen[-1] == ("score", 10, 10)
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})
    with pytest.raises(EditInterrupted):
        score(decoder, {}, asked, most_tokens=40, should_stop=lambda: len(seen) > 0)
    assert score(decoder, {}, []) == []


def test_a_question_without_tokens_is_refused() -> None:
    decoder = Decoder(tiny_model("llama"))
    for question in (Question((), ((1,),)), Question((1,), ((),)), Question((1,), ())):
        with pytest.raises(ValueError, match="at least one token"):
            score(decoder, {}, [question])


@pytest.mark.parametrize("name", CONFIGS)
def test_perplexity_is_that_of_one_row_at_a_time(name: str) -> None:
    generator = random.Random(1)
    texts = [tokens(generator, length) for length in (1, 2, 17, 30)]
    rows = TokenSequences.of(texts)
    matrices = edited(name)
    decoder = Decoder(tiny_model(name, attention="eager"))
    for version in ({}, matrices) if name == "llama" else (matrices,):
        alone = plain.perplexity(plain.merged(tiny_model(name, attention="eager"), version), texts)
        assert perplexity(decoder, version, rows, most_tokens=40) == pytest.approx(alone, rel=1e-5)
    assert predicted_tokens(rows) == 1 + 16 + 29


def test_a_broken_version_has_infinite_perplexity() -> None:
    decoder = Decoder(tiny_model("llama", torch.float32))
    broken = {1: torch.full_like(decoder.projections[1].weight, torch.nan)}
    assert perplexity(decoder, broken, TokenSequences.of([(1, 2, 3)])) == float("inf")


def test_padded_batches_hold_every_row_once_and_keep_to_the_budget() -> None:
    generator = random.Random(2)
    texts = [tokens(generator, generator.randint(1, 30)) for _ in range(40)]
    rows = TokenSequences.of([*texts, ()])
    assert (len(rows), rows.tokens) == (40, sum(map(len, texts)))
    seen = []
    for batch in padded_batches(rows.sequences(), 64, torch.device("cpu")):
        assert batch.tokens.numel() <= 64
        for slot, number in enumerate(batch.index.tolist()):
            assert batch.tokens[slot][batch.present[slot]].tolist() == list(texts[number])
            seen.append(number)
    assert sorted(seen) == list(range(40))
