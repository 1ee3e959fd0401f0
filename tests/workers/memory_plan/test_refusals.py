"""A plan that does not fit is refused with what to lower, and with that it does fit."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ByteSize, TypeAdapter
from transformers import GPT2Config

from configuration.errors import ConfigurationError
from configuration.settings import load_settings
from editing.model.weightless import weightless_decoder
from tests.workers.memory_plan.conftest import MakeRequest
from workers.memory_plan.configured import PlannedWorker
from workers.memory_plan.enforcing import require_memory
from workers.memory_plan.parts import HOST
from workers.memory_plan.plan import plan_memory
from workers.memory_plan.remedies import refusal, remedy_for
from workers.memory_plan.request import PlanRequest

GPT2 = GPT2Config(n_embd=1600, n_layer=4, n_head=25, n_positions=1024, vocab_size=50257)
"""Four layers of GPT2-XL's size: some of everything, and quickly described."""
CACHES: dict[str, Any] = {"layers": (1,), "kv_cache_bytes": 2**30, "matrix_cache_bytes": 2**30}
_FIELDS = {
    "KV_CACHE_BYTES": "kv_cache_bytes",
    "MATRIX_CACHE_BYTES": "matrix_cache_bytes",
    "HELD_OUT_CACHE_BYTES": "held_out_cache_bytes",
    "BATCH_VERSIONS": "batch_versions",
}


def short_of(request: PlanRequest, missing: int) -> PlanRequest:
    """The same where the device has `missing` bytes less than the plan takes."""
    return replace(request, available={**request.available, request.place: plan_memory(request).peak(HOST) - missing})


def followed(request: PlanRequest, changes: tuple[str, ...]) -> PlanRequest:
    """The request with what the settings told would be read as."""
    for change in changes:
        name, value = re.fullmatch(r"EMMETD_(\w+)=(\w+)", change).groups()  # type: ignore[union-attr]
        if name == "DTYPE":
            decoder = weightless_decoder(request.decoder.config, getattr(torch, value))
            request = replace(request, decoder=decoder)
        else:
            budget: dict[str, Any] = {_FIELDS[name]: int(TypeAdapter(ByteSize).validate_python(value))}
            request = replace(request, **budget)
    return request


@pytest.mark.parametrize(
    ("changed", "missing", "told"),
    [
        ({}, 1, r"EMMETD_KV_CACHE_BYTES=9\d\dMiB"),
        ({"kv_cache_bytes": 2**40}, 2**30, r"EMMETD_KV_CACHE_BYTES=[67]\d\dMiB"),
        ({"kv_cache_bytes": 1, "matrix_cache_bytes": 2**32}, 2**30, r"EMMETD_MATRIX_CACHE_BYTES=3072MiB"),
        ({"kv_cache_bytes": 1, "matrix_cache_bytes": 1, "batch_versions": 64}, 10**9, r"EMMETD_BATCH_VERSIONS=\d+"),
        (
            {"kv_cache_bytes": 1, "matrix_cache_bytes": 1, "held_out_cache_bytes": 2**28},
            2 * 10**7,
            r"EMMETD_HELD_OUT_CACHE_BYTES=0",
        ),
        ({"kv_cache_bytes": 1, "matrix_cache_bytes": 1}, 3 * 10**8, r"EMMETD_DTYPE=bfloat16"),
    ],
)
def test_one_setting_is_enough(request_of: MakeRequest, changed: dict[str, Any], missing: int, told: str) -> None:
    request = short_of(request_of(GPT2, **{**CACHES, **changed}), missing)
    assert plan_memory(request).missing(HOST) == missing
    remedy = remedy_for(request)
    assert remedy.enough
    assert len(remedy.changes) == 1
    assert re.fullmatch(told, remedy.changes[0]), remedy.changes
    assert plan_memory(followed(request, remedy.changes)).fits
    assert f"set {remedy.changes[0]}" in str(refusal("gpt2", request))


def test_several_are_told_where_one_is_not_enough(request_of: MakeRequest) -> None:
    request = short_of(request_of(GPT2, **CACHES), 25 * 10**8)
    remedy = remedy_for(request)
    assert (remedy.enough, len(remedy.changes) > 1) == (True, True)
    assert plan_memory(followed(request, remedy.changes)).fits


def test_where_nothing_is_enough_the_memory_that_is_needed_is_told(request_of: MakeRequest) -> None:
    request = request_of(GPT2, **CACHES, device="cuda:0", free=2 * 10**9)
    remedy = remedy_for(request)
    assert not remedy.enough
    smallest = followed(request, remedy.changes)
    missing = plan_memory(smallest).missing("cuda:0")
    assert remedy.missing == missing > 0
    enough = replace(smallest, available={**request.available, "cuda:0": 2 * 10**9 + missing})
    # On a device, values take shares of what is left, which with more is more; what stays does fit.
    assert plan_memory(enough).missing("cuda:0") < missing
    assert "take a device with at least" in str(refusal("gpt2", request))


def test_what_fits_is_not_refused(request_of: MakeRequest) -> None:
    assert refusal("gpt2", short_of(request_of(GPT2, **CACHES), 0)) is None


def test_the_process_is_counted_beside_what_is_free(request_of: MakeRequest) -> None:
    """What the planning process holds is no longer free, and is there for the worker."""
    without = short_of(request_of(GPT2, **CACHES), 0)
    counted = replace(without, runtime_bytes=400_000_000)
    assert plan_memory(counted).peak(HOST) == plan_memory(without).peak(HOST) + 400_000_000
    assert plan_memory(counted).missing(HOST) == 0


def test_a_worker_does_not_start_unless_it_is_told_to(request_of: MakeRequest) -> None:
    request = short_of(request_of(GPT2, **CACHES), 10**9)
    planned = PlannedWorker("xl", request, plan_memory(request), refusal("gpt2", request))
    with pytest.raises(ConfigurationError, match=r"gpt2 does not fit.*set EMMETD_\w+=.*EMMETD_MEMORY_PLAN=told"):
        require_memory(load_settings(memory_plan="enforced"), planned)
    require_memory(load_settings(), planned)
    fitting = short_of(request, 0)
    require_memory(
        load_settings(memory_plan="enforced"),
        PlannedWorker("xl", fitting, plan_memory(fitting), refusal("xl", fitting)),
    )
