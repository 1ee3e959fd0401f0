"""Writes a batch into one layer, or spreads it over several: MEMIT's distribution (arXiv 2210.07229, section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from editing.errors import UnsupportedModelError
from editing.model.decoder import Decoder
from editing.model.projection import EditableProjection, Matrices
from editing.progress import ProgressCallback, ShouldStop, check, never, silent
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.rising import RisingStates
from editing.values.value_set import Values

Solve = Callable[[int, Tensor, Tensor], Tensor]
"""(layer, keys (d_in, E), residual (d_out, E)), both float64, → Δ (d_out, d_in) for that layer."""


def edit_layers(
    decoder: Decoder,
    matrices: Matrices,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    values: Values,
    layers: Sequence[int],
    solve: Solve,
    *,
    anchored: bool = False,
    states: RisingStates | None = None,
    should_stop: ShouldStop = never,
    on_progress: ProgressCallback = silent,
) -> dict[int, Tensor]:
    """Δ (d_out, d_in) for each of `layers`, so that the stream after the last one moves to z = z₀ + δ.

    `values` were optimised at the last of `layers` on the version `matrices`. One layer takes R = δ and the keys as
    they are. Of several, each in order takes its share, (z − h) / (layers left), of what the stream h at the subject's
    last token still lacks, with keys and h computed anew through the layers already changed; the shared model does
    not change. `anchored` scales every wanted z to the norm of its z₀. `states` are those of the groups, where they
    were read before, at no layer above the first. Raises UnsupportedModelError where a norm stands between the MLP and
    the stream: there a change of the projection's output is not a change of the stream.
    """
    order = sorted(layers)
    if order[-1] != values.layer:
        raise ValueError(f"values belong to layer {values.layer}; the last layer to edit is {order[-1]}")
    if len(order) == 1:
        moved = wanted_states(values, anchored=True) - values.states.double() if anchored else values.deltas.double()
        return {order[0]: solve(order[0], values.keys.double().T, moved.T)}
    check_together(decoder, order)
    wanted = wanted_states(values, anchored)
    current: dict[int, Tensor] = dict(matrices)
    deltas: dict[int, Tensor] = {}
    states = RisingStates(decoder, groups, contexts, values.layer) if states is None else states
    for number, layer in enumerate(order):
        check(should_stop, "spreading the edit over layers")
        on_progress("layers", number, len(order))
        current_states = states.at(current, layer)
        residual = (wanted - current_states.stream.double()) / (len(order) - number)
        deltas[layer] = solve(layer, current_states.keys[layer].double().T, residual.T)
        current[layer] = changed(decoder.projections[layer], current.get(layer), deltas[layer])
    return deltas


def wanted_states(values: Values, anchored: bool = False) -> Tensor:
    """z = z₀ + δ (G, d_out), float64; `anchored`, scaled to the norms of z₀, so that a long line does not grow."""
    before = values.states.double()
    wanted = before + values.deltas.double()
    if not anchored:
        return wanted
    scales: Tensor = torch.linalg.vector_norm(before, dim=1) / torch.linalg.vector_norm(wanted, dim=1)
    return wanted * scales[:, None]


def check_together(decoder: Decoder, layers: Sequence[int]) -> None:
    """Raise UnsupportedModelError for several `layers` where a norm stands between the MLP and the stream."""
    architecture = decoder.architecture
    if len(layers) > 1 and architecture.norm_after_mlp:
        raise UnsupportedModelError(
            f"layers {sorted(layers)} cannot be edited together in {architecture.model_type} models, which normalise "
            "the MLP's output before it joins the stream; give one layer"
        )


def changed(projection: EditableProjection, matrix: Tensor | None, delta: Tensor) -> Tensor:
    """`matrix` (the base's where None; in the module's layout) plus Δ (d_out, d_in): summed in float64, cast once."""
    before = projection.weight if matrix is None else matrix
    moved = delta.T if projection.transposed else delta
    total: Tensor = before.detach().to(torch.float64) + moved.to(device=before.device, dtype=torch.float64)
    return total.to(before.dtype)
