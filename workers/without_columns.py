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
from editing.answer_keys import Prefix, keys_at
from editing.contexts import Context, contexts_from_texts
from editing.facts import SubjectGroup
from editing.key_metric import KeyMetric
from editing.layer_report import layer_report
from editing.layers import Solve, edit_layers
from editing.progress import ShouldStop, check
from editing.reverting import Change, KeptLayer, moved_on, pinned, put_in, replayed, taken_out
from editing.solve import Solution
from editing.statistic import Statistic
from editing.values import optimise_values
from workers.context import WorkerContext
from workers.deltas import LayerDelta, PutIn
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
        statistics: Mapping[str, Mapping[int, Statistic]],
        should_stop: ShouldStop,
    ) -> None:
        """Of the edits in `kept`, each with the `statistics` that it was solved with, on version `base`."""
        self.context = context
        self.base = base
        self.kept = kept
        self._before = dict(kept)
        self.affected = affected
        self.should_stop = should_stop
        self._statistics = statistics
        self._changes: dict[int, list[Change]] = {}
        self._corrections: dict[int, Tensor] = {}
        self._gone: dict[int, list[tuple[Tensor, Tensor]]] = {}
        self._pins: dict[tuple[int, str], list[Tensor]] = {}

    @property
    def statistics(self) -> dict[int, Statistic]:
        """Of each layer, that of the first edit that changes it."""
        found: dict[int, Statistic] = {}
        for of_edit in self._statistics.values():
            found = {**of_edit, **found}
        return found

    @property
    def pinned(self) -> set[str]:
        """The edits that were pinned somewhere."""
        return {edit for _, edit in self._pins}

    def _metric(self, edit: str, layer: int) -> KeyMetric:
        return self._statistics[edit][layer].metric

    def take_out(self, edit: str) -> None:
        """Solve each layer of `edit` again without the columns that leave."""
        kept, affected = self.kept[edit], self.affected[edit]
        positions = kept.positions(affected.out)
        ever = kept.positions([column for column in affected.out if column not in affected.again])
        layers = {}
        for layer, one in kept.layers.items():
            check(self.should_stop, "the revert")
            metric = self._metric(edit, layer)
            self._correct(layer, kept, one, metric)
            self._gone.setdefault(layer, []).append((one.keys[:, ever], one.residual[:, ever]))
            layers[layer], change = taken_out(one, positions, metric)
            self._changes.setdefault(layer, []).append(change)
        left = tuple(column for column in kept.columns if column not in set(affected.out))
        self.kept[edit] = replace(kept, columns=left, layers=layers)

    def _correct(self, layer: int, kept: KeptEdit, one: KeptLayer, metric: KeyMetric) -> None:
        """Where what was published is not what its keys and residuals give, make it so first.

        Repair rounds over several layers add up solves of slightly different keys, and another worker's C0 may differ.
        """
        if kept.published is None:
            return
        published = kept.published[layer].delta().to(one.keys.device)
        gap = replayed(one, metric) - published
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
            layers[layer], change = put_in(layers[layer], keys, moved, self._metric(edit, layer))
            self._changes[layer].append(change)
            return change.B @ change.A

        self._edit(groups, contexts, settings, put)
        repair = settings.model_copy(update={"steps": settings.repair_steps})
        for _ in range(settings.repair_rounds):
            failing = self.context.measuring.unsaid_groups(self.matrices(), groups, contexts, self.should_stop)
            if not failing:
                break
            positions = [len(kept.columns) + number for number in failing]

            def shift(layer: int, _: Tensor, moved: Tensor, positions: list[int] = positions) -> Tensor:
                layers[layer], change = moved_on(layers[layer], positions, moved, self._metric(edit, layer))
                self._changes[layer].append(change)
                return change.B @ change.A

            self._edit([groups[number] for number in failing], contexts, repair, shift)
        self.kept[edit] = replace(kept, columns=columns, layers=layers)

    def pin(self, prefixes: Mapping[str, Sequence[Prefix]]) -> None:
        """Let each edit change nothing at the tokens that its `prefixes` end in.

        Layer by layer, as the version that is being made sees the tokens: where every token of a text is pinned, all
        layers' keys are those of the version without the edit.
        """
        for layer in sorted({layer for edit in prefixes for layer in self.kept[edit].layers}):
            check(self.should_stop, "the revert")
            matrices = self.matrices()
            for edit, wanted in prefixes.items():
                kept = self.kept[edit]
                if layer not in kept.layers or not wanted:
                    continue
                one = kept.layers[layer]
                # As the blob will keep them, so that what is solved from it later is the same.
                keys = keys_at(self.context.model.decoder, matrices, wanted, layer).float().to(one.keys)
                more, change = pinned(one, keys, self._metric(edit, layer))
                self._changes[layer].append(change)
                assert more.pins is not None
                already = 0 if one.pins is None else one.pins.shape[1]
                self._pins.setdefault((layer, edit), []).append(more.pins[:, already:])
                self.kept[edit] = replace(kept, layers={**kept.layers, layer: more})

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
        return [
            {"edit": edit, "out": one.out, "in": list(one.again), "mu": self._other_mu(edit)}
            for edit, one in self.affected.items()
        ]

    def _other_mu(self, edit: str) -> dict[str, float]:
        """By layer, the μ that `edit` is solved with from now on, where it is another one than before."""
        before = self._before[edit].layers
        return {str(layer): one.mu for layer, one in self.kept[edit].layers.items() if one.mu != before[layer].mu}

    def put_in(self) -> dict[int, dict[int, PutIn]]:
        """Layer → number of the edit in `entries` → the columns that came back, and where the edit was pinned."""
        found: dict[int, dict[int, PutIn]] = {}
        for number, (edit, affected) in enumerate(self.affected.items()):
            for layer, one in self.kept[edit].layers.items():
                first = one.keys.shape[1] - len(affected.again)
                columns = (one.keys[:, first:], one.residual[:, first:]) if affected.again else None
                pins = self._pins.get((layer, edit))
                if columns is not None or pins is not None:
                    put = PutIn(columns, None if pins is None else torch.cat(pins, dim=1))
                    found.setdefault(layer, {})[number] = put
        return found

    def report(self, layer: int, weight: Tensor, delta: LayerDelta) -> LayerReport:
        """Measured at the keys that left for good: the output there should be what it was before their edit.

        `weight` (d_out, d_in) is the parent's. The condition number is that of the edits as they were solved.
        """
        keys = torch.cat([keys for keys, _ in self._gone[layer]], dim=1)
        residual = torch.cat([residual for _, residual in self._gone[layer]], dim=1)
        edits = [edit for edit, kept in self.kept.items() if layer in kept.layers]
        asked = max(self._before[edit].layers[layer].mu for edit in edits)
        used = max(self.kept[edit].layers[layer].mu for edit in edits)
        condition = max(self.kept[edit].condition_number(layer) for edit in edits)
        solution = Solution(None, None, delta.delta().to(keys.device), asked, used, condition, "keys")
        done = layer_report(weight, keys, -residual, solution, self.statistics[layer].factor)
        return LayerReport(
            layer=layer,
            mu_asked=asked,
            mu_used=used,
            condition_number=condition,
            memorization_error=done.memorization_error,
            preservation_cost=done.preservation_cost,
            relative_norm=done.relative_norm,
            rank=delta.rank,
        )
