"""What a start takes: the process, the model's weights, C0 with its factor, and making what is not there yet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from editing.covariance.accumulation import TOKENS_PER_BATCH
from editing.covariance.corpus import HELD_OUT_TOKENS, SelfSampled
from workers.memory_plan.parts import HOST, PHASES, PROCESS, TASKS, Part
from workers.memory_plan.request import PlanRequest, square_bytes

_SAMPLING_COPIES: Final = 3
"""Of the logits in float64: softmax, its sum, and the logits themselves."""


def start_parts(request: PlanRequest) -> Iterator[Part]:
    device = request.place
    if request.runtime_bytes:
        yield Part(PROCESS, HOST, request.runtime_bytes, PHASES, "interpreter and libraries, as measured here")
    dtype = str(request.decoder.dtype).removeprefix("torch.")
    yield Part("model", device, request.model_bytes, PHASES, f"weights and buffers in {dtype}")
    on_host = request.stored_bytes + (0 if device == HOST else request.model_bytes)
    if on_host:
        yield Part("loading", HOST, on_host, ("load",), "weights as their files hold them, on their way")
    square, layers = square_bytes(request.d_in), request.layers
    present = ("statistics", "held-out text", *TASKS)
    size = f"{layers} × ({request.d_in} × {request.d_in}) in float64"
    # From a file, the host only maps it: what nobody reads is never in memory.
    if device != HOST or not request.statistics_ready or request.reads_second_moment:
        yield Part("C0", device, layers * square, present, size)
    yield Part("C0's factor", device, layers * square, present, size)
    if not request.statistics_ready:
        yield from _making(request)
    kept = min(request.held_out_cache_bytes, HELD_OUT_TOKENS * request.d_out * request.itemsize)
    if kept:
        yield Part("held-out text", device, kept, TASKS, "its stream below the edited layers (held_out_cache_bytes)")


def _making(request: PlanRequest) -> Iterator[Part]:
    device, square, layers = request.place, square_bytes(request.d_in), request.layers
    sampled = SelfSampled()
    yield Part("sampling text", device, _sampling(request, sampled.batch), ("sample",), "text for C0")
    rows = math.ceil(HELD_OUT_TOKENS / sampled.length)
    yield Part("sampling held-out text", device, _sampling(request, rows), ("held-out text",), "text for drift")
    yield Part("sums of C0", device, layers * square, ("statistics",), "Σ k kᵀ of each layer in float64")
    keys = TOKENS_PER_BATCH * request.d_in * (layers * request.itemsize + request.itemsize + 8)
    reading = keys + request.activation_bytes(TOKENS_PER_BATCH)
    # C and its factor, which the parts above count for every layer, are there only after the text was read.
    factoring = 2 * square
    needed = max(factoring, reading - 2 * layers * square)
    yield Part("making C0", device, needed, ("statistics",), "keys of a batch of text, then a layer's factorisation")
    if device != HOST:
        yield Part("writing C0", HOST, 4 * square, ("statistics",), "a layer's C and factor on their way to disk")


def _sampling(request: PlanRequest, rows: int) -> int:
    """Keys and values of `rows` sequences that are sampled together, and their logits."""
    length = min(SelfSampled().length, request.decoder.context_length)
    logits = _SAMPLING_COPIES * 8 * rows * request.decoder.vocabulary
    return rows * length * request.slot_bytes + logits
