"""Each part of a memory plan against the tensors that are really made, for tiny models of every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from editing.covariance.key_metric import InverseSecondMoment
from editing.covariance.method_metric import inverse_second_moment
from editing.covariance.null_space import NullSpace, null_space_metric
from editing.covariance.statistic import Statistic, make_statistic
from editing.model.decoder import Decoder
from editing.model.weightless import configuration_of, tensor_bytes, weightless_decoder
from editing.solve.closed_form import factor_keys
from editing.solve.layers import changed
from editing.values.optimisation import ValueOptimisation
from tests.support.tiny_loaded import load_tiny
from tests.support.tiny_models import CONFIGS, ONE_LAYER_ONLY, tiny_model
from tests.workers.memory_plan.conftest import MakeRequest
from workers.generation.key_value_cache import KeyValueCache
from workers.memory_plan import editing, exporting
from workers.memory_plan.parts import Part
from workers.memory_plan.plan import plan_memory
from workers.memory_plan.request import PlanRequest
from workers.memory_plan.serving import allocated_slots

FAMILIES = pytest.mark.parametrize("family", CONFIGS)


def part(request: PlanRequest, name: str) -> Part:
    (found,) = [part for part in plan_memory(request).parts if part.name == name]
    return found


def decoder_of(family: str) -> Decoder:
    return Decoder(tiny_model(family, torch.float32))


def statistic_of(d_in: int) -> Statistic:
    keys = torch.randn(d_in, 4 * d_in, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return make_statistic(keys @ keys.T, layer=1, tokens=4 * d_in, corpus="", fingerprint="")


@FAMILIES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_model_is_as_large_as_its_configuration_says(
    family: str, dtype: torch.dtype, request_of: MakeRequest, tmp_path: Path
) -> None:
    loaded = load_tiny(tmp_path, family, dtype)
    config = configuration_of(str(tmp_path / family), cache=tmp_path)
    request = request_of(weightless_decoder(config, dtype))
    assert part(request, "model").bytes == tensor_bytes(loaded.decoder.model) > 0
    assert all(tensor.is_meta for tensor in request.decoder.model.parameters())


@FAMILIES
def test_c0_and_its_factor_of_every_layer(family: str, request_of: MakeRequest) -> None:
    layers = (1,) if family in ONE_LAYER_ONLY else (0, 1, 2)
    request = request_of(family, layers=layers)
    statistic = statistic_of(decoder_of(family).projections[1].d_in)
    assert part(request, "C0").bytes == len(layers) * statistic.C.nbytes
    assert part(request, "C0's factor").bytes == len(layers) * statistic.factor.nbytes


def test_c0_that_is_mapped_from_its_file_takes_no_memory_until_it_is_read(request_of: MakeRequest) -> None:
    def names(**changed: Any) -> set[str]:
        return {part.name for part in plan_memory(request_of("llama", statistics_ready=True, **changed)).parts}

    assert names() & {"C0", "C0's factor", "making C0"} == {"C0's factor"}
    assert "C0" in names(algorithm="alphaedit")
    assert "C0" in names(overrides={"ridge": 0.1})
    assert "C0" in names(device="cuda:0")


@FAMILIES
@torch.no_grad()
def test_the_key_value_cache_as_it_grows(family: str, request_of: MakeRequest) -> None:
    """One token after another, as decoding does; just after tensors grew they are as large as is planned."""
    decoder = decoder_of(family)
    request, cache = request_of(decoder), KeyValueCache(len(decoder.layers))
    sequences, sizes = 3, list[int]()
    for width in range(1, 67):
        present = torch.ones(sequences, 1, dtype=torch.bool)
        cache.extend(present)
        positions = torch.full((sequences, 1), width - 1)
        mask = torch.zeros(sequences, 1, 1, width)
        decoder.run_layers(decoder.embed(positions % 7, positions), positions, mask, 0, len(decoder.layers), cache)
        sizes.append(sum(tensor.nbytes for tensor in (*cache._keys, *cache._values) if tensor is not None))
        assert sizes[-1] <= allocated_slots(sequences, max(width, 52)) * request.slot_bytes
    assert sizes[64] > sizes[63]
    assert sizes[64] == allocated_slots(sequences, 65) * request.slot_bytes


def test_what_is_planned_for_the_cache_holds_all_that_is_let_in(request_of: MakeRequest) -> None:
    slot = request_of("llama").slot_bytes
    budget = 32 * 40 * slot
    assert part(request_of("llama", kv_cache_bytes=budget), "key-value cache").bytes == allocated_slots(32, 40) * slot
    # One alone is always let in, however small the budget; and no more than 32 of the whole context.
    assert part(request_of("llama", kv_cache_bytes=1), "key-value cache").bytes == allocated_slots(1, 96) * slot
    most = allocated_slots(32, 96) * slot
    assert part(request_of("llama", kv_cache_bytes=10**12), "key-value cache").bytes == most


@FAMILIES
def test_the_matrices_of_a_version(family: str, request_of: MakeRequest) -> None:
    decoder, layers = decoder_of(family), (1,) if family in ONE_LAYER_ONLY else (0, 2)
    request = request_of(decoder, layers=layers, matrix_cache_bytes=1, batch_versions=3)
    projections = [decoder.projections[layer] for layer in layers]
    delta = torch.ones(request.d_out, request.d_in, dtype=torch.float64)
    of_version = sum(changed(projection, None, delta).nbytes for projection in projections)
    assert part(request, "matrix cache").bytes == of_version, "the last version is never let go"
    assert part(request, "matrices in use").bytes == 2 * of_version


@FAMILIES
def test_what_an_optimisation_of_values_keeps(family: str, request_of: MakeRequest) -> None:
    """What is computed once: prefixes and streams, which packed batches copy, keys, and the reference of the KL."""
    request = request_of(decoder_of(family), facts=3, chat_forms=2)
    group, contexts = editing._group(request), editing._contexts(request)
    made = ValueOptimisation(request.decoder, {}, [group] * 3, contexts, request.settings)
    copied = sum(lower.stream.nbytes + (0 if lower.prefix is None else lower.prefix.nbytes) for lower in made.lower)
    inputs = len(made.lower) * request.d_in * request.itemsize
    constants, backward = editing.values_bytes(request)
    assert constants == 2 * copied + inputs + made.reference.nbytes
    assert backward == sum(made.sequence_bytes(sequence) for sequence in made.sequences)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_what_a_step_of_values_keeps_for_its_backward_pass(family: str, request_of: MakeRequest) -> None:
    """The estimate that portions are cut by, against the tensors that autograd saves."""
    request = request_of(decoder_of(family), facts=3)
    group, contexts = editing._group(request), editing._contexts(request)
    made = ValueOptimisation(request.decoder, {}, [group] * 3, contexts, request.settings)
    weights = {parameter.untyped_storage().data_ptr() for parameter in request.decoder.model.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with made.parallel, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for packed_batch in made.packed_batches():
            deltas = made.deltas.clone().requires_grad_()
            packed_batch.logits(made.packed_layers(), {}, deltas).sum()
    _, backward = editing.values_bytes(request)
    assert 0.3 < sum(saved.values()) / backward <= 1, "more is counted than is kept, but not several times as much"


@pytest.mark.parametrize("facts", [3, 40], ids=["factors", "dense"])
@FAMILIES
def test_what_a_solved_layer_holds(family: str, facts: int, request_of: MakeRequest) -> None:
    request = request_of(family, facts=facts)
    generator = torch.Generator().manual_seed(1)
    keys = torch.randn(request.d_in, facts, dtype=torch.float64, generator=generator)
    residual = torch.randn(request.d_out, facts, dtype=torch.float64, generator=generator)
    metric = InverseSecondMoment(statistic_of(request.d_in).factor)
    solution = factor_keys(keys, metric, mu=1.0, d_out=request.d_out).solve(residual)
    delta = [solution.dense] if solution.dense is not None else [solution.A, solution.B]
    held = sum(tensor.nbytes for tensor in (keys, residual, *delta) if tensor is not None)
    assert (solution.dense is not None) == (facts == 40)
    assert editing._factor_bytes(request) == held


def test_what_a_method_s_metric_adds(request_of: MakeRequest) -> None:
    plain = request_of("llama")
    statistic = statistic_of(plain.d_in)
    assert editing._metric_bytes(plain) == 0
    ridged = request_of("llama", overrides={"ridge": 0.1})
    factor = inverse_second_moment(statistic, ridged.settings, None).factor
    assert editing._metric_bytes(ridged) == 2 * factor.nbytes, "the factor, and C with its ridge while it is made"
    alphaedit = request_of("llama", algorithm="alphaedit")
    metric = null_space_metric(statistic, threshold=1.0, alpha=1.0)
    assert isinstance(metric, NullSpace)
    assert editing._metric_bytes(alphaedit) == 3 * metric.directions.nbytes


@FAMILIES
def test_exports(family: str, request_of: MakeRequest) -> None:
    decoder = decoder_of(family)
    request = request_of(decoder)
    weight = decoder.projections[1].weight.double()
    gram = 3 * weight.new_zeros(min(weight.shape), min(weight.shape)).nbytes
    assert exporting.adapter_bytes(request) == 3 * weight.nbytes + gram
    assert exporting.checkpoint_bytes(request) == 2 * max(one.nbytes for one in decoder.model.parameters())
