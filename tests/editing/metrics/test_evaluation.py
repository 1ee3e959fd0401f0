"""Every metric against a slow and plain computation on the merged model, equal to the item."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from tokenizers import Tokenizer
from torch import nn

from api_schemas.facts import Fact, Neighbor
from api_schemas.metrics import DEFAULT_METRICS, DEFAULT_THRESHOLDS, RETAINED
from editing.errors import EditInterrupted, FactError, FactLengthError
from editing.metrics import METRICS
from editing.metrics.evaluation import Evaluation, evaluate
from editing.metrics.generation_entropy import CONTINUATION, n_gram_entropy
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.model.token_sequences import TokenSequences
from tests.support import plain
from tests.support.tiny_models import tiny_model, tiny_tokenizer

NEIGHBORS = [
    Neighbor(prompt="The mother tongue of Toko Yasuda is", target="French"),
    Neighbor(prompt="Wellington is located in", target="New Zealand"),
    Neighbor(prompt="Lyon is", target=None),
]
FACTS = (
    Fact(
        prompt="The mother tongue of {} is",
        subject="Danielle Darrieux",
        target_new="English",
        target_old="French",
        paraphrases=["Danielle Darrieux is", "The language of Danielle Darrieux is "],
        neighbors=NEIGHBORS,
    ),
    Fact(prompt="{} plays the", subject="Toko Yasuda", target_new="piano or guitar", target_old="guitar"),
    Fact(prompt="The twin city of {} is", subject="Lyon", target_new="Madrid", paraphrases=["Lyon and"]),
    Fact(
        prompt="{}, which is located in",
        subject="Autonomous University of Madrid",
        target_new="New Zealand",
        target_old="Spain",
        paraphrases=["Madrid is located in"],
        neighbors=NEIGHBORS[1:2],
    ),
)
HELD_OUT = ((3, 50, 60, 70, 300), (9, 8, 7), (20,))


def matrices(name: str) -> Matrices:
    """An edit that makes the model say the targets of the second and the third fact, so that no metric is trivial."""
    model, tokenizer = tiny_model(name).requires_grad_(False), tiny_tokenizer()
    weight = plain.projection_of(model, 3).weight.requires_grad_(True)
    optimizer = torch.optim.Adam([weight], lr=0.03)
    for _ in range(40):
        loss = torch.zeros((), dtype=weight.dtype)
        for fact in FACTS[1:3]:
            start = len(tokenizer.encode(fact.text).ids)
            ids = torch.tensor(tokenizer.encode(f"{fact.text} {fact.target_new}").ids)
            loss = loss + torch.nn.functional.cross_entropy(model(ids[None]).logits[0, start - 1 : -1], ids[start:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {3: weight.detach()}


class Plain:
    """The metrics as docs/mathematics.md defines them, one prompt at a time."""

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def answer(self, prompt: str, target: str) -> tuple[float, bool]:
        before = self.tokenizer.encode(prompt).ids
        whole = self.tokenizer.encode(prompt + ("" if prompt.endswith(" ") else " ") + target).ids
        if whole[: len(before)] != before:
            whole = before + self.tokenizer.encode(target, add_special_tokens=False).ids
        return plain.log_probabilities(self.model, before, whole[len(before) :])

    def wins(self, prompt: str, better: str, worse: str) -> float:
        return float(self.answer(prompt, better)[0] > self.answer(prompt, worse)[0])

    def values(self) -> dict[str, list[float]]:
        """Each metric's value for the facts that count."""
        old = [fact for fact in FACTS if fact.target_old is not None]
        return {
            "ES": [self.wins(f.text, f.target_new, f.target_old) for f in old],
            "PS": [
                mean([self.wins(p, f.target_new, f.target_old) for p in f.paraphrases]) for f in old if f.paraphrases
            ],
            "NS": [
                mean([self.wins(n.prompt, n.target, f.target_new) for n in f.neighbors if n.target is not None])
                for f in FACTS
                if any(n.target is not None for n in f.neighbors)
            ],
            "EM": [float(self.answer(f.text, f.target_new)[1]) for f in FACTS],
            "GA": [float(self.says(f.text, 12).strip().startswith(f.target_new)) for f in FACTS],
        }

    def says(self, prompt: str, length: int) -> str:
        return str(self.tokenizer.decode(plain.greedy(self.model, self.tokenizer.encode(prompt).ids, length)))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_every_metric_is_that_of_the_plain_computation(name: str) -> None:
    tokenizer, decoder, edit = tiny_tokenizer(), Decoder(tiny_model(name)), matrices(name)
    shown: dict[str, set[float]] = {}
    for version in ({}, edit):
        base = tiny_model(name)
        expected = Plain(plain.merged(tiny_model(name), version), tokenizer).values()
        found = evaluate(
            decoder, tokenizer, version, FACTS, [*expected, "S", "drift"], held_out=TokenSequences.of(HELD_OUT)
        )
        for metric, values in expected.items():
            assert found.metrics[metric].n == len(values)
            assert found.metrics[metric].value == pytest.approx(mean(values), abs=1e-12)
            of_facts = [of_fact[metric] for of_fact in found.of_facts]
            assert [value for value in of_facts if value is not None] == values
            shown.setdefault(metric, set()).update(values)
        parts = [mean(expected[part]) for part in ("ES", "PS", "NS")]
        harmonic = 3 / sum(1 / part for part in parts) if all(parts) else 0.0
        assert found.metrics["S"].value == pytest.approx(harmonic)
        assert found.metrics["S"].n == 2
        drift = plain.perplexity(plain.merged(tiny_model(name), version), HELD_OUT) / plain.perplexity(base, HELD_OUT)
        assert found.metrics["drift"].value == pytest.approx(drift, rel=1e-9)
        assert found.metrics["drift"].n == 4 + 2
    assert all(len(values) > 1 for metric, values in shown.items() if metric in ("EM", "GA"))


def test_each_prompt_is_kept_with_its_probabilities() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("llama"))
    observed = evaluate(decoder, tokenizer, {}, FACTS, ["ES", "PS", "NS"]).observations
    model = Plain(tiny_model("llama"), tokenizer)
    for fact, reading in zip(FACTS, observed.facts, strict=True):
        assert reading.prompt is not None
        assert [one.prompt for one in reading.paraphrases] == fact.paraphrases
        assert [one.prompt for one in reading.neighbors] == [neighbor.prompt for neighbor in fact.neighbors]
        expected = [(fact.text, fact.target_old), *((text, fact.target_old) for text in fact.paraphrases)]
        expected += [(neighbor.prompt, neighbor.target) for neighbor in fact.neighbors]
        for one, (prompt, old) in zip(
            (reading.prompt, *reading.paraphrases, *reading.neighbors), expected, strict=True
        ):
            assert one.prompt == prompt
            assert one.new.log_probability == pytest.approx(model.answer(prompt, fact.target_new)[0], abs=1e-9)
            assert (one.old is None) == (old is None)
            if one.old is not None and old is not None:
                assert one.old.log_probability == pytest.approx(model.answer(prompt, old)[0], abs=1e-9)


def test_only_facts_with_an_old_target_or_a_neighbors_answer_count() -> None:
    bare = [Fact(prompt="{} is", subject="Lyon", target_new="French")]
    found = evaluate(Decoder(tiny_model("llama")), tiny_tokenizer(), {}, bare, ["ES", "PS", "NS", "S", "EM"])
    assert {name: (one.value, one.n) for name, one in found.metrics.items() if name != "EM"} == dict.fromkeys(
        ("ES", "PS", "NS", "S"), (None, 0)
    )
    assert found.metrics["EM"].n == 1
    assert evaluate(Decoder(tiny_model("llama")), tiny_tokenizer(), {}, [], ["EM", "GA", "GE"]).metrics["GE"].n == 0


def test_fluency_is_taken_over_texts_of_a_hundred_tokens() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("llama", torch.float32))
    found = evaluate(decoder, tokenizer, {}, FACTS[:2], ["GE"], seed=3)
    texts = [text for reading in found.observations.facts for text in reading.texts]
    assert found.metrics["GE"].value == pytest.approx(mean([n_gram_entropy(text) for text in texts]))
    assert (found.metrics["GE"].n, found.metrics["GE"].protocol) == (2, CONTINUATION)
    assert all(len(tokenizer.encode(text).ids) > 70 for text in texts)  # the context of 96 leaves no hundred
    assert evaluate(decoder, tokenizer, {}, FACTS[:2], ["GE"], seed=3).observations.facts == found.observations.facts


def test_generation_entropy_by_hand() -> None:
    # Bigrams of "a b a b a": ab ab ba ba, 1 bit; trigrams: aba bab aba, H = log2 3 - 2/3.
    trigrams = math.log2(3) - 2 / 3
    assert n_gram_entropy("a b a b a") == pytest.approx(100 * (2 / 3 * 1 + 4 / 3 * trigrams) / 2)
    assert n_gram_entropy("yes yes yes yes") == 0
    assert n_gram_entropy("") == 0
    different = " ".join(str(number) for number in range(75))
    assert n_gram_entropy(different) == pytest.approx(100 * (2 / 3 * math.log2(74) + 4 / 3 * math.log2(73)) / 2)


def test_a_known_reading_of_the_base_saves_the_base_run() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("llama"))
    held_out = TokenSequences.of(HELD_OUT)
    edit = {1: decoder.projections[1].weight * 1.5}
    whole = evaluate(decoder, tokenizer, edit, [], ["drift"], held_out=held_out)
    stages: list[tuple[str, int, int]] = []
    again = evaluate(
        decoder,
        tokenizer,
        edit,
        [],
        ["drift"],
        held_out=held_out,
        base_held_out=whole.observations.base_held_out,
        on_progress=lambda *at: stages.append(at),
    )
    assert again.metrics == whole.metrics
    assert [done for _, done, total in stages if done == total] == [6]
    assert evaluate(decoder, tokenizer, {}, [], ["drift"], held_out=held_out).metrics["drift"].value == 1.0


def test_a_broken_version_has_no_drift_value() -> None:
    decoder = Decoder(tiny_model("llama", torch.float32))
    broken = {1: torch.full_like(decoder.projections[1].weight, torch.inf)}
    found = evaluate(decoder, tiny_tokenizer(), broken, [], ["drift"], held_out=TokenSequences.of(HELD_OUT))
    assert (found.metrics["drift"].value, found.metrics["drift"].n) == (None, 6)


def test_what_cannot_be_read_is_named_by_fact_and_field() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("llama"))

    def run(*facts: Fact) -> Evaluation:
        return evaluate(decoder, tokenizer, {}, facts, ["ES", "PS", "NS"])

    good = FACTS[0]
    with pytest.raises(FactLengthError, match=r"fact 1: paraphrases\[1\] and its target need \d+ tokens") as too_long:
        run(good, good.model_copy(update={"paraphrases": ["short", "Lyon is " * 60]}))
    assert (too_long.value.index, too_long.value.field) == (1, "paraphrases[1]")
    with pytest.raises(FactError, match=r"fact 0: neighbors\[0\].prompt: the prompt has no token"):
        run(good.model_copy(update={"neighbors": [Neighbor(prompt="", target="Spain")]}))


def test_unknown_metrics_and_missing_text_are_refused() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("llama"))
    with pytest.raises(ValueError, match="unknown metrics \\['XX'\\]; known: ES, PS"):
        evaluate(decoder, tokenizer, {}, FACTS, ["ES", "XX"])
    with pytest.raises(ValueError, match="held-out text"):
        evaluate(decoder, tokenizer, {}, FACTS, ["drift"])
    with pytest.raises(EditInterrupted):
        evaluate(decoder, tokenizer, {}, FACTS, ["GA"], should_stop=lambda: True)


def test_the_table_has_the_names_that_the_api_promises() -> None:
    assert tuple(METRICS)[:8] == ("ES", "PS", "NS", "S", "EM", "GA", "GE", "drift")
    assert all(name == metric.name for name, metric in METRICS.items())
    assert {*DEFAULT_METRICS, *DEFAULT_THRESHOLDS} <= {*METRICS, RETAINED}
    assert all(metric.reads for metric in METRICS.values())
