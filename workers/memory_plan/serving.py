"""What serving takes beside the model: the key-value cache, cached matrices, and a step of decoding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from workers.generation.key_value_cache import GROWTH
from workers.generation.memory import shares
from workers.generation.prefill import PREFILL_TOKENS
from workers.generation.scheduler import MOST_SEQUENCES
from workers.memory_plan.parts import TASKS, Part
from workers.memory_plan.request import PlanRequest

_LOGIT_COPIES: Final = 3
"""Of a step's logits in float32: as the head gives them, cast, and what sampling makes of them."""


def kv_cache_budget(request: PlanRequest) -> int:
    """Bytes of keys and values that admitted sequences may be counted with."""
    if request.kv_cache_bytes is not None:
        return request.kv_cache_bytes
    return int(request.free_beside_model * shares(request.device)[0])


def matrix_cache_budget(request: PlanRequest) -> int:
    if request.matrix_cache_bytes is not None:
        return request.matrix_cache_bytes
    return int(request.free_beside_model * shares(request.device)[1])


def least_kv_cache(request: PlanRequest) -> int:
    """One sequence alone is always let in, however long it may become."""
    return request.decoder.context_length * request.slot_bytes


def serving_parts(request: PlanRequest) -> Iterator[Part]:
    length, slots = request.decoder.context_length, kv_cache_budget(request) // request.slot_bytes
    width = min(length, slots // MOST_SEQUENCES)
    taken = max(allocated_slots(MOST_SEQUENCES, width), allocated_slots(1, length))
    detail = f"{request.slot_bytes} bytes a token, and a quarter more to grow into (kv_cache_bytes)"
    yield Part("key-value cache", request.place, taken * request.slot_bytes, TASKS, detail)
    budget = matrix_cache_budget(request)
    cache = max(budget, request.version_bytes)
    yield Part(
        "matrix cache", request.place, cache, TASKS, f"versions of {request.version_bytes} bytes (matrix_cache_bytes)"
    )
    beyond = request.batch_versions * request.version_bytes - cache
    if beyond > 0:
        yield Part(
            "matrices in use",
            request.place,
            beyond,
            TASKS,
            f"{request.batch_versions} versions in one batch, beyond the cache (batch_versions)",
        )
    logits = _LOGIT_COPIES * 4 * MOST_SEQUENCES * request.decoder.vocabulary
    yield Part(
        "decoding",
        request.place,
        logits + request.activation_bytes(PREFILL_TOKENS + MOST_SEQUENCES),
        TASKS,
        f"logits of {MOST_SEQUENCES} sequences and a piece of a prompt",
    )


def allocated_slots(sequences: int, width: int) -> int:
    """Slots that the cache's tensors have when `sequences` sequences of `width` tokens have just made them grow."""
    return sequences * -(-(width + width // 4) // GROWTH) * GROWTH
