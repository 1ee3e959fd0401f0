"""What to lower, and to what, so that a plan which does not fit does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch

from editing.model.weightless import weightless_decoder
from workers.generation.key_value_cache import GROWTH
from workers.generation.scheduler import MOST_SEQUENCES
from workers.memory_plan.parts import HOST
from workers.memory_plan.plan import MemoryPlan, plan_memory
from workers.memory_plan.request import PlanRequest
from workers.memory_plan.serving import kv_cache_budget, least_kv_cache, matrix_cache_budget

MIB: Final = 1024**2
_TOLD: Final = 4
"""Parts of a peak that are named."""


@dataclass(frozen=True)
class Remedy:
    """`changes` are settings to make, as text; `enough` says that the plan fits with them, `missing` what is still
    missing where it does not."""

    changes: tuple[str, ...]
    enough: bool
    missing: int

    def sentence(self, place: str) -> str:
        told = ", ".join(self.changes)
        if self.enough:
            return f"set {told}"
        where = "a machine, or a container's limit," if place == HOST else "a device"
        more = f"take {where} with at least {in_units(self.missing)} more"
        return f"{more}, even with {told}" if told else more


Step = Callable[[PlanRequest, int], tuple[PlanRequest, str] | None]
"""A request that takes less of the place that misses so many bytes, and what to set for it; None where nothing is to be
had."""


def remedy_for(request: PlanRequest) -> Remedy:
    """The changes that make `request` fit: budgets first, then the dtype, of which scores may notice something. One
    that alone is enough is told alone."""
    changed, changes = request, list[str]()
    for step in STEPS:
        missing = _missing(plan_memory(changed))
        found = step(changed, missing) if missing else None
        if found is None:
            continue
        smaller, told = found
        if _missing(plan_memory(smaller)) >= missing:
            continue
        changed, changes = smaller, [*changes, told]
    missing = _missing(plan_memory(changed))
    if not missing:
        for step in STEPS:
            alone = step(request, _missing(plan_memory(request)))
            if alone is not None and not _missing(plan_memory(alone[0])):
                return Remedy((alone[1],), True, 0)
    return Remedy(tuple(changes), missing == 0, missing)


def refusal(model: str, request: PlanRequest) -> str | None:
    """Why a worker of `model` cannot run so, and what to do; None where it can."""
    plan = plan_memory(request)
    short = [place for place in plan.available if plan.missing(place)]
    if not short:
        return None
    place = max(short, key=plan.missing)
    return (
        f"{model} does not fit: at its peak ({plan.peak_phase(place)}) it takes {in_units(plan.peak(place))} of "
        f"{place}'s memory ({largest_parts(plan, place)}), {in_units(plan.missing(place))} more than there is; "
        f"{remedy_for(request).sentence(place)}"
    )


def largest_parts(plan: MemoryPlan, place: str) -> str:
    """The largest parts of the peak, with their sizes."""
    phase = plan.peak_phase(place)
    parts = [part for part in plan.parts if part.place == place and phase in part.phases]
    parts.sort(key=lambda part: -part.bytes)
    return ", ".join(f"{part.name} {in_units(part.bytes)}" for part in parts[:_TOLD])


def in_units(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _missing(plan: MemoryPlan) -> int:
    return max(plan.missing(place) for place in plan.available)


def _lower_kv_cache(request: PlanRequest, missing: int) -> tuple[PlanRequest, str] | None:
    least = least_kv_cache(request)
    # A budget beyond what all sequences can take together changes nothing.
    present = min(kv_cache_budget(request), MOST_SEQUENCES * least)
    # Tensors are a quarter larger than the budget, and grow in whole steps for every sequence.
    step = MOST_SEQUENCES * GROWTH * request.slot_bytes
    wanted = _whole_down(present - math.ceil((missing + step) / 1.25))
    if wanted < least:
        wanted = _whole_up(least)
    if wanted >= present:
        return None
    return replace(request, kv_cache_bytes=wanted), f"EMMETD_KV_CACHE_BYTES={wanted // MIB}MiB"


def _lower_matrix_cache(request: PlanRequest, missing: int) -> tuple[PlanRequest, str] | None:
    present, least = matrix_cache_budget(request), request.version_bytes
    wanted = _whole_up(max(least, _whole_down(present - missing)))
    if wanted >= present:
        return None
    return replace(request, matrix_cache_bytes=wanted), f"EMMETD_MATRIX_CACHE_BYTES={wanted // MIB}MiB"


def _fewer_versions(request: PlanRequest, missing: int) -> tuple[PlanRequest, str] | None:
    fewer = max(1, request.batch_versions - math.ceil(missing / request.version_bytes))
    if fewer >= request.batch_versions:
        return None
    return replace(request, batch_versions=fewer), f"EMMETD_BATCH_VERSIONS={fewer}"


def _no_held_out_cache(request: PlanRequest, missing: int) -> tuple[PlanRequest, str] | None:
    if not request.held_out_cache_bytes:
        return None
    return replace(request, held_out_cache_bytes=0), "EMMETD_HELD_OUT_CACHE_BYTES=0"


def _half_precision(request: PlanRequest, missing: int) -> tuple[PlanRequest, str] | None:
    if request.decoder.dtype.itemsize <= torch.bfloat16.itemsize:
        return None
    decoder = weightless_decoder(request.decoder.config, torch.bfloat16)
    return replace(request, decoder=decoder), "EMMETD_DTYPE=bfloat16"


STEPS: Final[tuple[Step, ...]] = (
    _lower_kv_cache,
    _lower_matrix_cache,
    _fewer_versions,
    _no_held_out_cache,
    _half_precision,
)


def _whole_down(size: int) -> int:
    return size // MIB * MIB


def _whole_up(size: int) -> int:
    return -(-size // MIB) * MIB
