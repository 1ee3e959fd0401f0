"""Memory plans of the sizes that papers edit, from their configurations alone, against figures worked out by hand."""

from __future__ import annotations

import pytest
import torch

from tests.workers.memory_plan.conftest import PUBLISHED, MakeRequest
from workers.memory_plan.parts import HOST
from workers.memory_plan.plan import plan_memory
from workers.memory_plan.remedies import refusal

GB24 = 24 * 1024**3
MEMIT_LAYERS = {"llama-2-7b": (4, 5, 6, 7, 8), "gpt-j": (3, 4, 5, 6, 7, 8), "gpt2-xl": (13, 14, 15, 16, 17)}
# Parameters and their rotary buffers; C0 and its factor, layers × d_in² × 8; a token's keys and values.
WEIGHTS = {
    "llama-2-7b": 6_738_415_616 * 2 + 2 * 64 * 4,
    "gpt-j": 6_050_882_784 * 2 + 28 * 2048 * 64 * 4,
    "gpt2-xl": 1_557_611_200 * 2,
}
C0 = {"llama-2-7b": 5 * 11008**2 * 8, "gpt-j": 6 * 16384**2 * 8, "gpt2-xl": 5 * 6400**2 * 8}
SLOT = {"llama-2-7b": 2 * 32 * 4096 * 2, "gpt-j": 2 * 28 * 4096 * 2, "gpt2-xl": 2 * 48 * 1600 * 2}
MATRIX = {"llama-2-7b": 11008 * 4096 * 2, "gpt-j": 16384 * 4096 * 2, "gpt2-xl": 6400 * 1600 * 2}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parts_in_bfloat16_with_memits_layers(name: str, request_of: MakeRequest) -> None:
    layers = MEMIT_LAYERS[name]
    request = request_of(
        PUBLISHED[name],
        algorithm="memit",
        layers=layers,
        dtype=torch.bfloat16,
        device="cuda:0",
        free=140 * 10**9,
        kv_cache_bytes=10**9,
        matrix_cache_bytes=10**9,
        statistics_ready=True,
    )
    plan = plan_memory(request)
    parts = {part.name: (part.place, part.bytes) for part in plan.parts}
    assert parts["model"] == ("cuda:0", WEIGHTS[name])
    assert parts["loading"] == (HOST, WEIGHTS[name]), "weights reach the device by way of the host"
    assert parts["C0"] == parts["C0's factor"] == ("cuda:0", C0[name])
    assert (request.slot_bytes, request.version_bytes) == (SLOT[name], len(layers) * MATRIX[name])
    assert plan.at("load", "cuda:0") == WEIGHTS[name]
    assert plan.fits
    kept = [part.bytes for part in plan.parts if part.place == "cuda:0" and "check" in part.phases]
    assert plan.at("check", "cuda:0") == sum(kept) > WEIGHTS[name] + 2 * C0[name] + 2 * 10**9


@pytest.mark.parametrize("name", ["llama-2-7b", "gpt-j"])
def test_c0_of_several_layers_does_not_fit_beside_seven_billion_weights_on_24_gb(
    name: str, request_of: MakeRequest
) -> None:
    """Twice 8 bytes for each pair of inputs: 9.7 GB for Llama 2, 25.8 GB for GPT-J."""
    request = request_of(PUBLISHED[name], layers=MEMIT_LAYERS[name], dtype=torch.bfloat16, device="cuda:0", free=GB24)
    told = refusal(name, request)
    assert told is not None
    assert f"{name} does not fit" in told
    assert "of cuda:0's memory" in told
    assert "take a device with at least" in told


def test_one_layer_of_gpt2_xl_fits_on_24_gb_with_default_budgets(request_of: MakeRequest) -> None:
    request = request_of(PUBLISHED["gpt2-xl"], layers=(17,), dtype=torch.bfloat16, device="cuda:0", free=GB24)
    assert refusal("gpt2-xl", request) is None


def test_values_take_smaller_portions_where_a_device_has_less_left(request_of: MakeRequest) -> None:
    def values(free: int, facts: int) -> int:
        request = request_of(
            PUBLISHED["llama-2-7b"],
            layers=(5,),
            dtype=torch.bfloat16,
            device="cuda:0",
            free=free,
            kv_cache_bytes=2**31,
            matrix_cache_bytes=2**29,
            facts=facts,
        )
        return next(part.bytes for part in plan_memory(request).parts if part.name == "values")

    assert values(10**12, 1000) > 10 * values(10**12, 64)
    assert values(GB24, 1000) < values(10**12, 1000)
    assert plan_memory(request_of(PUBLISHED["llama-2-7b"], layers=(5,), device="cuda:0", free=GB24)).fits is False
