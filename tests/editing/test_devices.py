"""The science on every device that this machine has, against the plain way in float64 on the processor."""

from __future__ import annotations

import random

import pytest
import torch

from benchmarks.plain_values import plain_value
from editing.covariance.accumulation import key_moments
from editing.covariance.method_metric import key_metrics
from editing.covariance.statistic import make_statistic
from editing.methods import ALGORITHMS, EditSettings
from editing.model.decoder import Decoder
from editing.model.token_sequences import TokenSequences
from editing.readings.perplexity import perplexity
from editing.solve.batch import BatchEdit, solve_batch
from editing.solve.layers import changed
from editing.values.optimisation import ValueOptimisation, optimise_values
from editing.values.value_set import Values
from tests.support.devices import DEVICES
from tests.support.tiny_models import (
    CONFIGS,
    ONE_LAYER_ONLY,
    VOCABULARY,
    tiny_contexts,
    tiny_groups,
    tiny_model,
    tiny_tokenizer,
)

SETTINGS = EditSettings(layers=(0, 1), steps=6, mu=1.0, repair_rounds=1)
ONE_LAYER = SETTINGS.model_copy(update={"layers": (1,)})
GENERATOR = random.Random(0)
ROWS = TokenSequences.of([tuple(GENERATOR.randrange(VOCABULARY) for _ in range(30)) for _ in range(20)])

pytestmark = [pytest.mark.parametrize("device", DEVICES), pytest.mark.parametrize("name", CONFIGS)]


def float32_inside(name: str, device: str) -> bool:
    """RMS norms compute in float32 in a float64 model too, and other devices round that in other places."""
    return name not in ("gpt2", "gptj") and device != "cpu"


def decoder_of(name: str, device: str, dtype: torch.dtype = torch.float64) -> Decoder:
    return Decoder(tiny_model(name, dtype).to(device))


def test_in_float64_values_and_keys_are_those_of_the_plain_way(name: str, device: str) -> None:
    tokenizer = tiny_tokenizer()
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    off = 1e-3 if float32_inside(name, device) else 1e-8
    values = optimise_values(decoder_of(name, device), {}, groups, contexts, ONE_LAYER)
    expected = [plain_value(tiny_model(name), group, contexts, ONE_LAYER) for group in groups]
    torch.testing.assert_close(values.deltas.cpu(), torch.stack([one.delta for one in expected]), rtol=0, atol=off)
    torch.testing.assert_close(values.keys.cpu(), torch.stack([one.key for one in expected]), rtol=0, atol=off)
    assert values.steps.tolist() == [one.steps for one in expected]


def test_in_float32_loss_and_first_gradient_are_those_of_the_plain_way(name: str, device: str) -> None:
    tokenizer = tiny_tokenizer()
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    chosen = ONE_LAYER.model_copy(update={"steps": 1})
    optimisation = ValueOptimisation(decoder_of(name, device, torch.float32), {}, groups, contexts, chosen)
    gradient = optimisation.evaluate(optimisation.packed_batches(), with_gradient=True).cpu()
    expected = [plain_value(tiny_model(name), group, contexts, chosen) for group in groups]
    for row, one in zip(gradient, expected, strict=True):
        off = torch.linalg.vector_norm(row - one.first_gradient) / torch.linalg.vector_norm(one.first_gradient)
        assert float(off) < 1e-4
    torch.testing.assert_close(
        optimisation.losses.cpu(), torch.tensor([one.first_loss for one in expected]), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_have_values_that_lower_the_loss(name: str, device: str, dtype: torch.dtype) -> None:
    tokenizer, decoder = tiny_tokenizer(), decoder_of(name, device, dtype)
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    few, many = (
        optimise_values(decoder, {}, groups, contexts, ONE_LAYER.model_copy(update={"steps": steps}))
        for steps in (1, 10)
    )
    assert many.deltas.dtype == torch.float32
    assert bool(torch.isfinite(many.deltas).all())
    assert float(many.losses.mean()) < float(few.losses.mean())


def edited(name: str, device: str) -> tuple[Decoder, Values, BatchEdit]:
    """C0, values, two layers where the family takes several, and one repair round of a fact that was not said."""
    tokenizer, decoder = tiny_tokenizer(), decoder_of(name, device)
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    sums = key_moments(decoder, (0, 1), ROWS)
    statistics = {
        layer: make_statistic(sums.moment(layer), layer=layer, tokens=sums.tokens, corpus="random", fingerprint="f")
        for layer in (0, 1)
    }
    chosen = ONE_LAYER if name in ONE_LAYER_ONLY else SETTINGS
    values = optimise_values(decoder, {}, groups, contexts, chosen)
    metrics = key_metrics(ALGORITHMS["emmet"], statistics, chosen)
    return (
        decoder,
        values,
        solve_batch(decoder, {}, metrics, groups, contexts, values, chosen, lambda *_: [2]),
    )


def test_a_whole_edit_of_its_layers_with_repair_is_that_of_the_processor(name: str, device: str) -> None:
    here, _, ours = edited(name, device)
    there, _, theirs = edited(name, "cpu")
    assert sorted(ours.layers) == sorted(theirs.layers) == ([1] if name in ONE_LAYER_ONLY else [0, 1])
    for layer, edit in ours.layers.items():
        expected = theirs.layers[layer].delta()
        off = torch.linalg.matrix_norm(edit.delta().cpu() - expected) / torch.linalg.matrix_norm(expected)
        assert float(off) < (1e-4 if float32_inside(name, device) else 1e-6)
    told = []
    for decoder, edit in ((here, ours), (there, theirs)):
        matrices = {n: changed(decoder.projections[n], None, one.delta()) for n, one in edit.layers.items()}
        told.append(perplexity(decoder, matrices, ROWS))
    assert told[0] == pytest.approx(told[1], rel=1e-4 if float32_inside(name, device) else 1e-6)
