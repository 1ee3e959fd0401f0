"""Solving edits again without some of their columns: a revert's delta, collected edit by edit, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from api_schemas.algorithms import EditSettings
from api_schemas.facts import Fact
from api_schemas.metrics import LayerReport
from editing.contexts import Context, contexts_from_texts
from editing.facts import SubjectGroup
from editing.layer_report import layer_report
from editing.layers import Solve, edit_layers
from editing.progress import ShouldStop, check
from editing.reverting import Change, KeptLayer, moved_on, outputs, put_in, replayed, taken_out
from editing.solve import Solution
from editing.statistic import Statistic
from editing.values import optimise_values
from workers.context import WorkerContext
from workers.deltas import Columns, LayerDelta
from workers.kept import KeptEdit
from workers.layer_weights import materialised
from workers.plan import tokenized_groups
from workers.reversal import Affected

REPLAY_TOLERANCE = 1e-5
"""Relative distance of a published Δ from the one that its keys and residuals give, up to which they are the same."""


class Reversal:
    """The change of every layer, collected while columns leave edits and others come back."""

    def __init__(
        self,
        context: WorkerContext,
        base: int,
        kept: dict[str, KeptEdit],
        affected: Mapping[str, Affected],
        statistics: Mapping[int, Statistic],
        should_stop: ShouldStop,
    ) -> None:
        self.context = context
        self.base = base
        self.kept = kept
        self._before = dict(kept)
        self.affected = affected
        self.statistics = statistics
        self.should_stop = should_stop
        self._changes: dict[int, list[Change]] = {}
        self._corrections: dict[int, Tensor] = {}
        self._gone: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def take_out(self, edit: str) -> None:
        """Solve each layer of `edit` again without the columns that leave."""
        kept, affected = self.kept[edit], self.affected[edit]
        positions = kept.positions(affected.out)
        ever = kept.positions([column for column in affected.out if column not in affected.again])
        layers = {}
        for layer, one in kept.layers.items():
            check(self.should_stop, "the revert")
            metric = self.statistics[layer].metric
            self._correct(layer, kept, one)
            self._gone.setdefault(layer, []).append((one.keys[:, ever], one.residual[:, ever]))
            layers[layer], change = taken_out(one, positions, metric)
            self._changes.setdefault(layer, []).append(change)
        left = tuple(column for column in kept.columns if column not in set(affected.out))
        self.kept[edit] = replace(kept, columns=left, layers=layers)

    def _correct(self, layer: int, kept: KeptEdit, one: KeptLayer) -> None:
        """Where what was published is not what its keys and residuals give, make it so first.

        Repair rounds over several layers add up solves of slightly different keys, and another worker's C0 may differ.
        """
        if kept.published is None:
            return
        published = kept.published[layer].delta().to(one.keys.device)
        gap = replayed(one, self.statistics[layer].metric) - published
        if float(gap.norm()) > REPLAY_TOLERANCE * float(published.norm()):
            known = self._corrections.get(layer)
            self._corrections[layer] = gap if known is None else known + gap

    def optimise_again(self, edit: str, facts: Sequence[Sequence[Fact]]) -> None:
        """Find new values for the columns of `edit` that come back, `facts` by column, and solve them in."""
        kept = self.kept[edit]
        settings = kept.settings
        contexts = contexts_from_texts(self.context.model.backend_tokenizer, kept.contexts)
        groups = tokenized_groups(self.context, [fact for column in facts for fact in column], settings)
        layers = dict(kept.layers)
        columns = (*kept.columns, *self.affected[edit].again)

        def put(layer: int, keys: Tensor, moved: Tensor) -> Tensor:
            layers[layer], change = put_in(layers[layer], keys, moved, self.statistics[layer].metric)
            self._changes[layer].append(change)
            return change.B @ change.A

        self._edit(groups, contexts, settings, put)
        repair = settings.model_copy(update={"steps": settings.repair_steps})
        for _ in range(settings.repair_rounds):
            failing = self.context.measuring.unsaid_groups(self.matrices(), groups, self.should_stop)
            if not failing:
                break
            positions = [len(kept.columns) + number for number in failing]

            def shift(layer: int, _: Tensor, moved: Tensor, positions: list[int] = positions) -> Tensor:
                layers[layer], change = moved_on(layers[layer], positions, moved, self.statistics[layer].metric)
                self._changes[layer].append(change)
                return change.B @ change.A

            self._edit([groups[number] for number in failing], contexts, repair, shift)
        self.kept[edit] = replace(kept, columns=columns, layers=layers)

    def pin(self, edit: str, columns: Sequence[int]) -> None:
        """Bind the outputs at the keys of `columns`, which left for good, to what they were before the edit."""
        kept, affected, before = self.kept[edit], self.affected[edit], self._before[edit]
        index = torch.tensor(before.positions(columns))
        layers = {}
        for layer, one in kept.layers.items():
            metric = self.statistics[layer].metric
            keys = before.layers[layer].keys[:, index.to(one.keys.device)]
            moved = -outputs(one, keys, metric)
            layers[layer], change = put_in(one, keys, moved, metric)
            self._changes[layer].append(change)
        affected.pinned += columns
        self.kept[edit] = replace(kept, columns=(*kept.columns, *columns), layers=layers)

    def _edit(
        self, groups: Sequence[SubjectGroup], contexts: Sequence[Context], settings: EditSettings, solve: Solve
    ) -> None:
        decoder, matrices = self.context.model.decoder, self.matrices()
        values = optimise_values(decoder, matrices, groups, contexts, settings, should_stop=self.should_stop)
        edit_layers(decoder, matrices, groups, contexts, values, settings.layers, solve, should_stop=self.should_stop)

    def matrices(self) -> dict[int, Tensor]:
        """The matrices with all changes so far."""
        return materialised(self.context, self.base, self.deltas())

    def deltas(self) -> dict[int, LayerDelta]:
        """The change of each layer in the float32 of its blob: factors, or dense where that is smaller."""
        found = {}
        for layer, changes in sorted(self._changes.items()):
            A, B = torch.cat([one.A for one in changes]), torch.cat([one.B for one in changes], dim=1)
            correction = self._corrections.get(layer)
            if correction is None and A.shape[0] * (A.shape[1] + B.shape[0]) <= A.shape[1] * B.shape[0]:
                found[layer] = LayerDelta(layer, A.float().cpu(), B.float().cpu(), None)
            else:
                dense = B @ A if correction is None else B @ A + correction
                found[layer] = LayerDelta(layer, None, None, dense.float().cpu())
        return found

    def entries(self) -> list[dict[str, Any]]:
        """What was done to each edit, as the blob's header keeps it (`versions.deltas`)."""
        return [{"edit": edit, "out": one.out, "in": one.back} for edit, one in self.affected.items()]

    def columns_back(self) -> dict[int, dict[int, Columns]]:
        """Layer → number of the edit → keys and residuals of the columns that came back."""
        found: dict[int, dict[int, Columns]] = {}
        for number, (edit, affected) in enumerate(self.affected.items()):
            for layer, one in self.kept[edit].layers.items():
                if affected.back:
                    first = one.keys.shape[1] - len(affected.back)
                    found.setdefault(layer, {})[number] = (one.keys[:, first:], one.residual[:, first:])
        return found

    def report(self, layer: int, weight: Tensor, delta: LayerDelta) -> LayerReport:
        """Measured at the keys that left for good: the output there should be what it was before their edit.

        `weight` (d_out, d_in) is the parent's. The condition number is a bound: that of the edits as they were solved.
        """
        keys = torch.cat([keys for keys, _ in self._gone[layer]], dim=1)
        residual = torch.cat([residual for _, residual in self._gone[layer]], dim=1)
        edits = [kept for kept in self.kept.values() if layer in kept.layers]
        mu = max(kept.layers[layer].mu for kept in edits)
        condition = max(kept.condition_number(layer) for kept in edits)
        solution = Solution(None, None, delta.delta().to(keys.device), mu, mu, condition, "keys")
        done = layer_report(weight, keys, -residual, solution, self.statistics[layer].factor)
        return LayerReport(
            layer=layer,
            mu_asked=mu,
            mu_used=mu,
            condition_number=condition,
            memorization_error=done.memorization_error,
            preservation_cost=done.preservation_cost,
            relative_norm=done.relative_norm,
            rank=delta.rank,
        )
