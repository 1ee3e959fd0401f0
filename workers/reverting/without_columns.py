"""Taking columns out of edits: a revert's delta, collected edit by edit, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from api_schemas.facts import Fact
from api_schemas.metrics import LayerReport
from editing.covariance.key_metric import KeyMetric
from editing.covariance.method_metric import key_metrics
from editing.covariance.statistic import Statistic
from editing.methods import EditSettings
from editing.progress import ShouldStop, check
from editing.solve.closed_form import Solution
from editing.solve.layer_report import layer_report
from editing.solve.layers import Solve, edit_layers
from editing.solve.reverting import Change, KeptLayer, moved_on, put_in, taken_out
from editing.values.answer_keys import keys_at
from editing.values.contexts import Context, contexts_from_texts
from editing.values.facts import SubjectGroup
from editing.values.optimisation import optimise_values
from workers.context import WorkerContext
from workers.reverting.kept import KeptEdit
from workers.reverting.pins import TextKeys
from workers.reverting.reversal import Affected
from workers.tasks.plan import tokenized_groups
from workers.weights.deltas import LayerDelta, PutIn
from workers.weights.layer_weights import materialised


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
        self.affected = affected
        self.should_stop = should_stop
        self._before = dict(kept)
        self._statistics = statistics
        self._metrics = {
            edit: key_metrics(kept[edit].algorithm, of_layers, kept[edit].settings)
            for edit, of_layers in statistics.items()
        }

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
        return {
            edit for edit, kept in self.kept.items() for layer in kept.layers if self._pins(edit, layer) is not None
        }

    def _metric(self, edit: str, layer: int) -> KeyMetric:
        return self._metrics[edit][layer]

    def take_out(self, texts: Mapping[str, TextKeys]) -> None:
        """Take from each edit the columns that leave it, pinned and held at its `texts` from now on."""
        self._without({edit: one.out for edit, one in self.affected.items()}, texts)

    def pin(self, texts: Mapping[str, TextKeys]) -> None:
        """Let each edit change nothing at its `texts` either."""
        self._without(dict.fromkeys(texts, ()), texts)

    def _without(self, columns: Mapping[str, Sequence[int]], texts: Mapping[str, TextKeys]) -> None:
        """Layer by layer, as the version that is being made sees the texts' tokens: where every token of a text is
        pinned, all layers' keys are those of the version without the edit.
        """
        positions = {edit: self.kept[edit].positions(out) for edit, out in columns.items()}
        for layer in sorted({layer for edit in columns for layer in self.kept[edit].layers}):
            matrices = self.matrices()
            for edit, at in positions.items():
                check(self.should_stop, "the revert")
                kept = self.kept[edit]
                if layer in kept.layers:
                    pins, held = self._keys(matrices, texts.get(edit, TextKeys()), layer)
                    one = kept.layers[layer]
                    one = one if held is None else replace(one, held=held)
                    without, _ = taken_out(one, at, self._metric(edit, layer), pins)
                    self._now(edit, layer, without)
        for edit, out in columns.items():
            left = tuple(column for column in self.kept[edit].columns if column not in set(out))
            self.kept[edit] = replace(self.kept[edit], columns=left)

    def _keys(self, matrices: Mapping[int, Tensor], texts: TextKeys, layer: int) -> tuple[Tensor | None, Tensor | None]:
        """Keys (d_in, n), float64, of the pinned and of the held tokens; None where there are none."""
        prefixes = [*texts.pinned, *texts.held]
        if not prefixes:
            return None, None
        # As the blob will keep the pins, so that what is solved from them later is the same.
        keys = keys_at(self.context.model.decoder, matrices, prefixes, layer).float().double()
        pins, held = keys[:, : len(texts.pinned)], keys[:, len(texts.pinned) :]
        return (pins if pins.shape[1] else None), (held if held.shape[1] else None)

    def _now(self, edit: str, layer: int, one: KeptLayer) -> None:
        kept = self.kept[edit]
        self.kept[edit] = replace(kept, layers={**kept.layers, layer: one})

    def optimise_again(self, edit: str, facts: Sequence[Sequence[Fact]]) -> None:
        """Find new values for the columns of `edit` that come back, `facts` by column, and solve them in."""
        before = self.kept[edit]
        settings = before.settings
        contexts = contexts_from_texts(self.context.model.backend_tokenizer, before.contexts)
        groups = tokenized_groups(self.context, [fact for column in facts for fact in column], settings)

        def put(layer: int, keys: Tensor, moved: Tensor) -> Tensor:
            one, change = put_in(self.kept[edit].layers[layer], keys, moved, self._metric(edit, layer))
            self._now(edit, layer, one)
            return change.B @ change.A

        self._edit(groups, contexts, settings, put)
        repair = settings.model_copy(update={"steps": settings.repair_steps})
        for _ in range(settings.repair_rounds):
            failing = self.context.measuring.unsaid_groups(self.matrices(), groups, contexts, self.should_stop)
            if not failing:
                break
            positions = [len(before.columns) + number for number in failing]

            def shift(layer: int, _: Tensor, moved: Tensor, positions: list[int] = positions) -> Tensor:
                one, change = moved_on(self.kept[edit].layers[layer], positions, moved, self._metric(edit, layer))
                self._now(edit, layer, one)
                return change.B @ change.A

            self._edit([groups[number] for number in failing], contexts, repair, shift)
        self.kept[edit] = replace(self.kept[edit], columns=(*before.columns, *self.affected[edit].again))

    def _edit(
        self, groups: Sequence[SubjectGroup], contexts: Sequence[Context], settings: EditSettings, solve: Solve
    ) -> None:
        decoder, matrices = self.context.model.decoder, self.matrices()
        values = optimise_values(decoder, matrices, groups, contexts, settings, should_stop=self.should_stop)
        edit_layers(decoder, matrices, groups, contexts, values, settings.layers, solve, should_stop=self.should_stop)

    def matrices(self) -> dict[int, Tensor]:
        """The matrices with all changes so far."""
        return materialised(self.context.model.decoder, self.context.matrices, self.base, self.deltas())

    def _changes(self, edit: str, layer: int) -> tuple[Change, ...]:
        """What was done to the edit's layer so far."""
        before = self._before[edit].layers.get(layer)
        return () if before is None else self.kept[edit].layers[layer].changes[len(before.changes) :]

    def deltas(self) -> dict[int, LayerDelta]:
        """The change of each layer in the float32 of its blob: factors, edit by edit; dense where that is smaller and a
        single edit changes it."""
        found = {}
        for layer in sorted({layer for kept in self.kept.values() for layer in kept.layers}):
            of_edits = [changes for edit in self.affected if (changes := self._changes(edit, layer))]
            if not of_edits:
                continue
            A = torch.cat([one.A for changes in of_edits for one in changes])
            B = torch.cat([one.B for changes in of_edits for one in changes], dim=1)
            if len(of_edits) == 1 and A.shape[0] * (A.shape[1] + B.shape[0]) > A.shape[1] * B.shape[0]:
                found[layer] = LayerDelta(layer, None, None, (B @ A).float().cpu())
            else:
                found[layer] = LayerDelta(layer, A.float().cpu(), B.float().cpu(), None)
        return found

    def entries(self) -> list[dict[str, Any]]:
        """What was done to each edit, as the blob's header keeps it (`store.blobs.deltas`)."""
        return [
            {"edit": edit, "out": one.out, "in": list(one.again), "ranks": self._ranks(edit)}
            for edit, one in self.affected.items()
        ]

    def _ranks(self, edit: str) -> dict[str, int]:
        return {
            str(layer): sum(one.A.shape[0] for one in self._changes(edit, layer)) for layer in self.kept[edit].layers
        }

    def put_in(self) -> dict[int, dict[int, PutIn]]:
        """Layer → number of the edit in `entries` → the columns that came back, and where the edit was pinned."""
        found: dict[int, dict[int, PutIn]] = {}
        for number, (edit, affected) in enumerate(self.affected.items()):
            for layer, one in self.kept[edit].layers.items():
                keys = one.keys[:, one.keys.shape[1] - len(affected.again) :] if affected.again else None
                pins = self._pins(edit, layer)
                if keys is not None or pins is not None:
                    found.setdefault(layer, {})[number] = PutIn(keys, pins)
        return found

    def _pins(self, edit: str, layer: int) -> Tensor | None:
        """Where the edit's layer is pinned that was not before; None where nowhere."""
        pins, known = self.kept[edit].layers[layer].pins, self._before[edit].layers[layer].pins
        if pins is None or known is None:
            return pins
        return pins[:, known.shape[1] :] if pins.shape[1] > known.shape[1] else None

    def report(self, layer: int, weight: Tensor, delta: LayerDelta) -> LayerReport:
        """Measured at the keys that left for good: the output there should be what it was before their edit.

        `weight` (d_out, d_in) is the parent's. What the solves ask for is equality.
        """
        keys, outputs = [], []
        for edit, affected in self.affected.items():
            before = self._before[edit]
            if layer in before.layers:
                ever = before.positions([column for column in affected.out if column not in affected.again])
                keys.append(before.layers[layer].keys[:, ever])
                outputs.append(before.layers[layer].at(keys[-1]))
        changes = [one for edit in self.affected for one in self._changes(edit, layer)]
        used = max(one.mu_used for one in changes)
        condition = max(one.condition_number for one in changes)
        K, R = torch.cat(keys, dim=1), -torch.cat(outputs, dim=1)
        solution = Solution(None, None, delta.delta().to(K.device), 0.0, used, condition, "keys")
        done = layer_report(weight, K, R, solution, self.statistics[layer].factor)
        return LayerReport(
            layer=layer,
            mu_asked=0.0,
            mu_used=used,
            condition_number=condition,
            memorization_error=done.memorization_error,
            preservation_cost=done.preservation_cost,
            relative_norm=done.relative_norm,
            rank=delta.rank,
        )
