"""Solves a batch for its layers, checks which facts fail, and repairs those in further rounds.

A joint solve blurs small values, so some facts of a large batch are not said afterwards although each value alone would
make them said. Instead of optimising longer, a repair round looks which facts the edited weights do not say, finds
small δ for those on top of the edited weights, and solves again with all keys, asking for no change where a fact holds.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from editing.covariance.key_metric import KeyMetric
from editing.covariance.protected import beside
from editing.covariance.statistic import Statistic
from editing.errors import SingularSolveError
from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop, never, silent
from editing.solve.closed_form import KeyFactor, Solution, factor_keys
from editing.solve.layer_measures import LayerMeasures, layer_measures
from editing.solve.layers import changed, edit_layers, wanted_states
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.optimisation import optimise_values
from editing.values.rising import RisingStates
from editing.values.value_set import Values

FailingGroups = Callable[[Matrices, Sequence[SubjectGroup]], Sequence[int]]
"""Given edited matrices and groups, those of the groups (by number) with a fact that is not said."""


@dataclass(frozen=True)
class Earlier:
    """Groups that were edited before the batch; `lost` says which of those that it is given are not said any more."""

    groups: Sequence[SubjectGroup] = ()
    lost: FailingGroups = lambda *_: ()


@dataclass(frozen=True)
class LayerEdit:
    """What was done to one layer: `solutions` of the rounds, whose Δ add up, for `keys` (d_in, E), each from the round
    that first had it, and the summed residuals `residual` (d_out, E), float64."""

    layer: int
    keys: Tensor
    residual: Tensor
    solutions: tuple[Solution, ...]

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """Δ = B A as (A (r, d_in), B (d_out, r)), or None where a round kept Δ dense, or Δ is smaller than those."""
        rows, columns = [], []
        for solution in self.solutions:
            if solution.A is None or solution.B is None:
                return None
            rows.append(solution.A)
            columns.append(solution.B)
        if all(row is rows[0] for row in rows):
            return rows[0], torch.stack(columns).sum(0)
        (d_out, d_in), rank = (columns[0].shape[0], rows[0].shape[1]), sum(row.shape[0] for row in rows)
        if rank * (d_out + d_in) > d_out * d_in:
            return None
        return torch.cat(rows), torch.cat(columns, dim=1)

    def delta(self) -> Tensor:
        """Δ (d_out, d_in), float64."""
        pair = self.factors
        if pair is not None:
            return pair[1] @ pair[0]
        return torch.stack([solution.matrix() for solution in self.solutions]).sum(0)

    def report(self, weight: Tensor, statistic: Statistic, power: float | None = None) -> LayerMeasures:
        """Measured for the whole change, `weight` (d_out, d_in) being the parent's, and `power` its `ordinary_power`
        where that is known."""
        pair = self.factors
        total = replace(
            self.solutions[-1],
            A=None if pair is None else pair[0],
            B=None if pair is None else pair[1],
            dense=self.delta() if pair is None else None,
        )
        return layer_measures(weight, self.keys, self.residual, total, statistic.factor, power)


@dataclass(frozen=True)
class BatchEdit:
    """`layers` by number; `repaired` counts, round by round, the batch's groups that were optimised again.

    `restated` numbers those of the earlier groups that were written again: their columns follow the batch's own in
    every layer, in this order.

    `wanted` (G, d_out), float64, are the states z of the stream after the last layer, at the subject's last token, that
    each group was last optimised for (`editing.solve.consolidating`). None where a norm stands between the MLP and the
    stream: what is wanted there is an output of W, and no state.
    """

    layers: dict[int, LayerEdit]
    repaired: tuple[int, ...]
    wanted: Tensor | None = None
    restated: tuple[int, ...] = ()


def solve_batch(
    decoder: Decoder,
    matrices: Matrices,
    metrics: Mapping[int, KeyMetric],
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    values: Values,
    settings: EditSettings,
    failing_groups: FailingGroups,
    *,
    earlier: Earlier = Earlier(),
    should_stop: ShouldStop = never,
    on_progress: ProgressCallback = silent,
) -> BatchEdit:
    """Solve for all layers of `settings` on top of `matrices`, then check and repair `repair_rounds` times.

    `metrics` are those layers' S. Of the groups edited `earlier`, those that are lost after the first solve take part
    in the repair: a line lasts by saying again what a batch is about to lose. Raises SingularSolveError where `strict`
    refuses, EditInterrupted where `should_stop` says so.
    """
    rounds = _Rounds(metrics, settings, groups)
    on_progress("solving", 0, 1 + settings.repair_rounds)
    spread = functools.partial(
        edit_layers, layers=settings.layers, solve=rounds.solve, anchored=settings.anchor_norm, should_stop=should_stop
    )
    deltas = spread(decoder, matrices, groups, contexts, values)
    edited_matrices = _edited_matrices(decoder, matrices, deltas)
    wanted = wanted_states(values, settings.anchor_norm)
    repaired: list[int] = []
    restated: list[int] = []
    taking_part, own = list(groups), len(groups)
    repair = settings.model_copy(update={"steps": settings.repair_steps})
    for number in range(settings.repair_rounds):
        on_progress("solving", 1 + number, 1 + settings.repair_rounds)
        failing = sorted(failing_groups(edited_matrices, groups))
        others = taking_part[own:] if number else earlier.groups
        lost = sorted(earlier.lost(edited_matrices, others)) if others else []
        if not failing and not lost:
            break
        repaired.append(len(failing))
        repaired_values = optimise_values(
            decoder,
            edited_matrices,
            [*(groups[n] for n in failing), *(others[n] for n in lost)],
            contexts,
            repair,
            should_stop=should_stop,
        )
        if not number:
            restated, lost = lost, list(range(len(lost)))
            taking_part += [earlier.groups[n] for n in restated]
            values = _with_rows(values, repaired_values, range(len(failing), len(failing) + len(lost)))
        failing = [*failing, *(own + n for n in lost)]
        states = RisingStates(decoder, taking_part, contexts, values.layer)
        now = states.at(edited_matrices, min(settings.layers)).stream
        round_values = _repair_values(values, repaired_values, failing, now)
        again = torch.tensor([n for n in failing if n < own], dtype=torch.long, device=wanted.device)
        wanted[again] = wanted_states(round_values, settings.anchor_norm)[again]
        spread(decoder, edited_matrices, taking_part, contexts, round_values, states=states)
        edited_matrices = _edited_matrices(
            decoder, matrices, {layer: edit.delta() for layer, edit in rounds.edits().items()}
        )
    on_progress("solving", 1, 1)
    return BatchEdit(
        rounds.edits(),
        tuple(repaired),
        None if decoder.architecture.norm_after_mlp else wanted,
        tuple(restated),
    )


class _Rounds:
    """Solves of successive rounds. With one layer its keys never change, so that their factor serves every round in
    which the same groups take part."""

    def __init__(
        self, metrics: Mapping[int, KeyMetric], settings: EditSettings, groups: Sequence[SubjectGroup]
    ) -> None:
        self._metrics = metrics
        self._groups = groups
        self._settings = settings
        self._factors: dict[int, KeyFactor] = {}
        self._beside: dict[int, KeyMetric] = {}
        self._edits: dict[int, LayerEdit] = {}

    def solve(self, layer: int, keys: Tensor, residual: Tensor) -> Tensor:
        before = self._edits.get(layer)
        if before is not None and before.keys.shape[1] < keys.shape[1]:
            self._factors.pop(layer, None)
            self._beside.pop(layer, None)
        factor = self._factors.get(layer)
        if factor is None:
            factor = self._factored(layer, keys, residual.shape[0])
            if len(self._settings.layers) == 1:
                self._factors[layer] = factor
        solution = factor.solve(residual)
        if before is None:
            self._edits[layer] = LayerEdit(layer, keys, residual, (solution,))
        else:  # a group's first keys stand for all: those of later rounds differ by what the rounds moved below
            known = before.keys.shape[1]
            total = residual.clone()
            total[:, :known] += before.residual
            self._edits[layer] = LayerEdit(
                layer, torch.cat([before.keys, keys[:, known:]], 1), total, (*before.solutions, solution)
            )
        return solution.matrix()

    def _factored(self, layer: int, keys: Tensor, d_out: int) -> KeyFactor:
        settings = self._settings
        if (
            layer not in self._beside
        ):  # keys of later rounds differ by what the rounds moved below: too little to matter
            self._beside[layer] = beside(self._metrics[layer], keys)
        try:
            return factor_keys(
                keys,
                self._beside[layer],
                mu=settings.mu,
                mu_relative=settings.mu_relative,
                strict=settings.strict,
                condition_limit=settings.condition_limit or math.inf,
                d_out=d_out,
            )
        except SingularSolveError as error:
            raise error.about([[fact.index for fact in group.facts] for group in self._groups]) from error

    def edits(self) -> dict[int, LayerEdit]:
        return dict(sorted(self._edits.items()))


def _edited_matrices(decoder: Decoder, matrices: Matrices, deltas: Mapping[int, Tensor]) -> dict[int, Tensor]:
    own = {layer: changed(decoder.projections[layer], matrices.get(layer), delta) for layer, delta in deltas.items()}
    return {**matrices, **own}


def _with_rows(values: Values, others: Values, rows: Sequence[int]) -> Values:
    """`values` and, after them, those `rows` of `others`."""
    if not rows:
        return values
    index = torch.tensor(list(rows), dtype=torch.long, device=values.deltas.device)
    joined = {
        field.name: torch.cat([(own := getattr(values, field.name)), getattr(others, field.name)[index].to(own.dtype)])
        for field in fields(Values)
        if field.name != "layer"
    }
    return Values(layer=values.layer, **joined)


def _repair_values(first_values: Values, repaired_values: Values, failing: Sequence[int], states: Tensor) -> Values:
    """Values of all groups for a repair round: δ of those that failed, 0 for those that hold.

    In a single layer the keys and so the solve see no state; several layers measure from where the stream is now, which
    is `states`.
    """
    index = torch.tensor(failing, device=first_values.deltas.device)
    deltas = torch.zeros_like(first_values.deltas).index_copy(
        0, index, repaired_values.deltas.to(first_values.deltas.dtype)
    )
    return replace(first_values, deltas=deltas, states=states)
