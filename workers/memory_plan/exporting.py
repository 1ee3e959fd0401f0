"""What an export takes: a lineage summed up for an adapter on the device, a tensor at a time for a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from workers.memory_plan.parts import HOST, Part
from workers.memory_plan.request import PlanRequest


def export_parts(request: PlanRequest) -> Iterator[Part]:
    yield Part(
        "adapter", request.place, adapter_bytes(request), ("export",), "a deep lineage's Δ, and one layer's factors"
    )
    if request.place != HOST:
        yield Part("checkpoint", HOST, checkpoint_bytes(request), ("export",), "its largest tensor")


def adapter_bytes(request: PlanRequest) -> int:
    """Δ (d_out, d_in) of every edited layer in float64, as when a lineage's ranks add up to a whole side of it, and the
    singular vectors of one: its Gram matrix, their eigenvectors with work space, and two products."""
    weight, side = 8 * request.d_in * request.d_out, min(request.d_in, request.d_out)
    return request.layers * weight + 3 * 8 * side**2 + 2 * weight


def checkpoint_bytes(request: PlanRequest) -> int:
    """The largest of the model's tensors, as stored and in the dtype that is written."""
    return 2 * max(parameter.nbytes for parameter in request.decoder.model.parameters())
