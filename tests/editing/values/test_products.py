"""Optimiser steps with products in bfloat16: when they are taken, what they leave alone, how near they come."""

from __future__ import annotations

import threading

import pytest
import torch

from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.values import products
from editing.values.optimisation import ValueOptimisation, optimise_values
from tests.support.tiny_models import CONFIGS, tiny_contexts, tiny_groups, tiny_model, tiny_tokenizer

SETTINGS = EditSettings(layers=(1,), steps=6)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that gains by bfloat16, and batches of any size."""
    monkeypatch.setattr(products, "multiplies_bfloat16_fast", lambda: True)
    monkeypatch.setattr(products, "FEWEST_TOKENS", 1)


def first_gradient(decoder: Decoder) -> torch.Tensor:
    tokenizer = tiny_tokenizer()
    optimisation = ValueOptimisation(decoder, {}, tiny_groups(tokenizer), tiny_contexts(tokenizer), SETTINGS)
    return optimisation.evaluate(optimisation.packed_batches(), with_gradient=True)


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("name", CONFIGS)
def test_the_gradient_is_near_and_what_is_solved_for_the_same(name: str) -> None:
    exact, rounded = (Decoder(tiny_model(name, torch.float32), rounded_products=half) for half in (False, True))
    expected, found = first_gradient(exact), first_gradient(rounded)
    cosine = torch.nn.functional.cosine_similarity(found, expected, dim=1)
    assert float(cosine.min()) > 0.95
    assert not torch.equal(found, expected)
    assert found.dtype == torch.float32
    tokenizer = tiny_tokenizer()
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    values, others = (optimise_values(decoder, {}, groups, contexts, SETTINGS) for decoder in (exact, rounded))
    assert torch.equal(values.keys, others.keys)
    assert torch.equal(values.states, others.states)


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_in_another_dtype_keeps_its_own_products(dtype: torch.dtype) -> None:
    exact, allowed = (Decoder(tiny_model("llama-gqa", dtype), rounded_products=half) for half in (False, True))
    assert torch.equal(first_gradient(exact), first_gradient(allowed))


@pytest.mark.parametrize(("gains", "fewest"), [(False, 1), (True, 10**6)], ids=["no-gain", "few-tokens"])
def test_they_are_exact_where_nothing_is_gained(gains: bool, fewest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "multiplies_bfloat16_fast", lambda: gains)
    monkeypatch.setattr(products, "FEWEST_TOKENS", fewest)
    exact, allowed = (Decoder(tiny_model("gpt2", torch.float32), rounded_products=half) for half in (False, True))
    assert torch.equal(first_gradient(exact), first_gradient(allowed))


@pytest.mark.usefixtures("fast")
def test_only_the_calling_thread_rounds() -> None:
    decoder = Decoder(tiny_model("llama-gqa", torch.float32), rounded_products=True)
    seen = []
    with products.rounded_products(decoder, 10):
        seen.append(torch.is_autocast_enabled("cpu"))
        with products.unrounded_products():
            seen.append(torch.is_autocast_enabled("cpu"))
        other = threading.Thread(target=lambda: seen.append(torch.is_autocast_enabled("cpu")))
        other.start()
        other.join()
    assert [*seen, torch.is_autocast_enabled("cpu")] == [True, False, False, False]
