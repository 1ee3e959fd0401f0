"""Rows decoded together against each alone through transformers' forward."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from editing.model import prefix
from editing.model.decoder import Decoder
from editing.model.decoding import continue_prompts, stop_tokens
from editing.model.prefix import SharedBeginning
from editing.model.projection import Matrices, Version, frame
from editing.readings.continuations import greedy_texts, sampled_texts
from tests.support import plain
from tests.support.tiny_models import CONFIGS, tiny_model, tiny_tokenizer

PROMPTS = ((5, 9, 300), (17,), (40, 41, 42, 43, 44, 45, 46), (8, 2))


def argmax(logits: Tensor, rows: Tensor) -> Tensor:
    return logits.argmax(-1)


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_rows_are_what_each_says_alone(name: str) -> None:
    model = tiny_model(name)
    expected = [plain.greedy(model, prompt, length) for prompt, length in zip(PROMPTS, (6, 1, 4, 9), strict=True)]
    found = continue_prompts(Decoder(tiny_model(name)), PROMPTS, (6, 1, 4, 9), argmax)
    assert found == expected


def test_a_row_ends_after_a_stop_token_and_the_others_go_on() -> None:
    model = tiny_model("llama")
    free = [plain.greedy(model, prompt, 8) for prompt in PROMPTS]
    stop = free[0][2]
    expected = [plain.greedy(model, prompt, 8, stop=[stop]) for prompt in PROMPTS]
    assert len(expected[0]) < 8
    assert max(map(len, expected)) == 8
    assert continue_prompts(Decoder(tiny_model("llama")), PROMPTS, [8] * 4, argmax, stop={stop}) == expected


BEGINNING = (30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
ALIKE = (*[(*BEGINNING, *prompt) for prompt in PROMPTS], (7, 7), (*BEGINNING[:9], 3), BEGINNING)


@pytest.mark.parametrize("name", CONFIGS)
def test_rows_that_begin_alike_are_what_each_says_alone_on_its_version(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Decoder(tiny_model(name))
    versions: list[Matrices] = [{}, {2: decoder.projections[2].weight.flip(0)}]
    run: list[tuple[int, int]] = []
    whole = decoder.run_layers

    def counted(hidden: Tensor, *arguments: Any) -> Tensor:
        run.append((hidden.shape[0], hidden.shape[1]))
        return whole(hidden, *arguments)

    monkeypatch.setattr(prefix, "LEAST_SAVED", 20)
    monkeypatch.setattr(decoder, "run_layers", counted)
    of_rows = [versions[n % 2] for n in range(2 * len(ALIKE))]
    prompts = [prompt for prompt in ALIKE for _ in range(2)]
    found = continue_prompts(decoder, prompts, [5, 6] * len(ALIKE), argmax, versions=of_rows)
    assert run[:2] == [(2, 9), (2 * len(ALIKE), 9)]
    alone = [plain.merged(tiny_model(name), version) for version in versions]
    assert found == [plain.greedy(alone[n % 2], prompt, 5 + n % 2) for n, prompt in enumerate(prompts)]
    with frame(Version(versions[1])):
        assert continue_prompts(decoder, ALIKE, [4] * len(ALIKE), argmax) == [
            plain.greedy(alone[1], prompt, 4) for prompt in ALIKE
        ]


def test_what_saves_most_is_shared_and_little_is_not() -> None:
    many = [(*range(20), n) for n in range(5)] + [(*range(100, 140), n) for n in range(4)] + [(1, 2)]
    assert prefix.shared_beginning(many) == SharedBeginning(40, frozenset({5, 6, 7, 8}))
    assert prefix.shared_beginning(many[:6], versions=2) is None
    assert prefix.shared_beginning([tuple(range(20))] * 5) == SharedBeginning(19, frozenset(range(5)))
    assert prefix.shared_beginning([tuple(range(20))] * 4, versions=2) is None
    assert prefix.shared_beginning([(1, 2, 3)] * 100) is None
    assert prefix.shared_beginning([]) is None


def test_rows_continue_on_the_version_of_the_frame() -> None:
    decoder = Decoder(tiny_model("gpt2"))
    changed = {2: decoder.projections[2].weight.flip(0)}
    with frame(Version(changed)):
        found = continue_prompts(decoder, PROMPTS, [5] * 4, argmax)
    alone = plain.merged(tiny_model("gpt2"), changed)
    assert found == [plain.greedy(alone, prompt, 5) for prompt in PROMPTS]


def test_greedy_texts_come_back_in_order_and_decoded() -> None:
    tokenizer = tiny_tokenizer()
    decoder = Decoder(tiny_model("llama"))
    texts = greedy_texts(decoder, {}, tokenizer, PROMPTS, [4] * 4)
    model = tiny_model("llama")
    assert texts == [tokenizer.decode(plain.greedy(model, prompt, 4)) for prompt in PROMPTS]


def test_a_sampled_text_depends_on_its_own_seed_alone() -> None:
    tokenizer = tiny_tokenizer()
    decoder = Decoder(tiny_model("llama"))
    together = sampled_texts(decoder, {}, tokenizer, PROMPTS, [6] * 4, seed=7)
    assert together == sampled_texts(decoder, {}, tokenizer, PROMPTS, [6] * 4, seed=7)
    assert together != sampled_texts(decoder, {}, tokenizer, PROMPTS, [6] * 4, seed=8)
    for number, prompt in enumerate(PROMPTS):
        assert sampled_texts(decoder, {}, tokenizer, [prompt], [6], seed=7 + number) == [together[number]]


def test_tokens_are_sampled_among_the_five_most_probable_as_often_as_they_should() -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_model("llama")
    prompt = (5, 9, 300)
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0, -1]
    logits[[0, 1]] = -torch.inf  # the tokenizer's control tokens
    best = logits.topk(5)
    expected: Counter[str] = Counter()
    for token, share in zip(best.indices.tolist(), best.values.softmax(-1).tolist(), strict=True):
        expected[tokenizer.decode([token])] += share  # tokens that are half a character decode alike
    drawn = 400
    texts = sampled_texts(Decoder(tiny_model("llama")), {}, tokenizer, [prompt] * drawn, [1] * drawn, seed=0)
    found = Counter(texts)
    assert set(found) <= set(expected)
    assert len(expected) > 1
    for text, share in expected.items():
        assert abs(found[text] / drawn - share) < 4 * (share * (1 - share) / drawn) ** 0.5 + 1 / drawn


def test_stop_tokens_are_the_models_own() -> None:
    model = tiny_model("llama")
    model.generation_config.eos_token_id = [3, 5]
    assert stop_tokens(Decoder(model)) == {3, 5}
    model.generation_config.eos_token_id = None
    model.config.eos_token_id = 7
    assert stop_tokens(Decoder(model)) == {7}
    assert stop_tokens(Decoder(tiny_model("gpt2"))) == frozenset()
