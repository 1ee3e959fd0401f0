"""Rebases a batch onto another parent without optimising again: the wanted outputs or states stay as they are."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from torch import Tensor

from editing.covariance.key_metric import KeyMetric
from editing.covariance.protected import beside
from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.solve.batch import LayerEdit
from editing.solve.closed_form import factor_keys
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.keys import subject_states
from editing.values.value_set import Values


def hold_where(decoder: Decoder, layers: Sequence[int], differing: Collection[int]) -> bool:
    """Whether values of an edit of `layers` hold on a parent that differs from theirs in the layers `differing`.

    What was optimised is the state of the stream after the last of `layers`: it says the targets as long as the layers
    above it are the same. Where a norm stands between the MLP and the stream only the layer itself may differ, as a
    state of the stream is not an output of W there.
    """
    if len(layers) == 1 and set(differing) <= set(layers):
        return True
    return not decoder.architecture.norm_after_mlp and max(differing, default=-1) <= max(layers)


def values_at_keys(values: Values, before: Tensor, after: Tensor) -> Values:
    """`values` of one layer, made on its matrix `before` (d_out, d_in), for a solve on `after`; nothing else differs.

    Keys are the same, and the wanted outputs stay: δ' = δ + (W_before − W_after) k. So do the wanted states of the
    stream, where the outputs join it as they are: z₀' = z₀ − (W_before − W_after) k.
    """
    moved = values.keys.double() @ (before.double() - after.double()).to(values.keys.device).T
    moved = moved.to(values.deltas.dtype)
    return replace(values, deltas=values.deltas + moved, states=values.states - moved)


def values_in_stream(
    decoder: Decoder, values: Values, after: Matrices, groups: Sequence[SubjectGroup], contexts: Sequence[Context]
) -> Values:
    """`values` of one layer for a solve on the version `after`, in which layers below it differ too.

    Keys are the version's own, and the wanted states z of the stream stay: δ' = z − h. Several layers need nothing
    like it: they measure keys and z − h themselves, as they are solved (`editing.solve.layers`).
    """
    current_states = subject_states(decoder, after, groups, contexts, [values.layer], values.layer)
    deltas = values.states.double() + values.deltas.double() - current_states.stream.double()
    keys, dtype = current_states.keys[values.layer], values.deltas.dtype
    return replace(values, deltas=deltas.to(dtype), keys=keys.to(dtype), states=current_states.stream.to(dtype))


def rebased(edit: LayerEdit, before: Tensor, after: Tensor, metric: KeyMetric, settings: EditSettings) -> LayerEdit:
    """`edit`, solved on the parent matrix `before` (d_out, d_in), solved again on `after` in the metric S.

    Keys do not change with the matrix that they go into. What the batch wants at them stays: V = W_before K + R, hence
    R' = R + (W_before − W_after) K. Raises SingularSolveError where `strict` refuses.
    """
    keys = edit.keys
    moved = (before.double() - after.double()).to(keys.device)
    residual = edit.residual + moved @ keys
    factor = factor_keys(
        keys,
        beside(metric, keys),
        mu=settings.mu,
        mu_relative=settings.mu_relative,
        strict=settings.strict,
        condition_limit=settings.condition_limit or math.inf,
        d_out=residual.shape[0],
    )
    return LayerEdit(edit.layer, keys, residual, (factor.solve(residual),))
