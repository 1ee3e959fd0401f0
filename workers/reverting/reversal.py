"""The delta of a revert: takes columns out of edits, edit by edit and layer by layer, and collects the changes."""

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
from editing.solve.layer_measures import layer_measures
from editing.solve.layers import Solve, edit_layers
from editing.solve.reverting import Change, RemainingLayer, put_in, with_moved_outputs, without_columns
from editing.values.answer_keys import keys_at
from editing.values.contexts import Context, contexts_of
from editing.values.facts import SubjectGroup
from editing.values.optimisation import optimise_values
from workers.context import WorkerContext
from workers.reverting.affected_edits import AffectedEdit
from workers.reverting.constrained_tokens import ConstrainedTokens
from workers.reverting.remaining_edit import RemainingEdit
from workers.tasks.plan import tokenized_groups
from workers.weights.deltas import InsertedKeys, LayerDelta
from workers.weights.layer_weights import materialised


class Reversal:
    """The change of every layer, collected while columns leave edits and others come back."""

    def __init__(
        self,
        context: WorkerContext,
        base: int,
        remaining: dict[str, RemainingEdit],
        affected: Mapping[str, AffectedEdit],
        statistics: Mapping[str, Mapping[int, Statistic]],
        should_stop: ShouldStop,
    ) -> None:
        """Of the edits in `remaining`, each with the `statistics` that it was solved with, on version `base`."""
        self.context = context
        self.base = base
        self.remaining = remaining
        self.affected = affected
        self.should_stop = should_stop
        self._before = dict(remaining)
        self._statistics = statistics
        self._metrics = {
            edit: key_metrics(remaining[edit].algorithm, of_layers, remaining[edit].settings)
            for edit, of_layers in statistics.items()
        }

    @property
    def statistics(self) -> dict[int, Statistic]:
        """Of each layer, that of the first edit that changes it."""
        by_layer: dict[int, Statistic] = {}
        for of_edit in self._statistics.values():
            by_layer = {**of_edit, **by_layer}
        return by_layer

    @property
    def pinned(self) -> set[str]:
        """The edits that were pinned somewhere."""
        return {
            edit
            for edit, remaining in self.remaining.items()
            for layer in remaining.layers
            if self._pins(edit, layer) is not None
        }

    def _metric(self, edit: str, layer: int) -> KeyMetric:
        return self._metrics[edit][layer]

    def take_out(self, texts: Mapping[str, ConstrainedTokens]) -> None:
        """Take from each edit the columns that leave it, pinned and held at its `texts` from now on."""
        self._take_columns_out({edit: affected.leaving_columns for edit, affected in self.affected.items()}, texts)

    def pin(self, texts: Mapping[str, ConstrainedTokens]) -> None:
        """Let each edit change nothing at its `texts` either."""
        self._take_columns_out(dict.fromkeys(texts, ()), texts)

    def _take_columns_out(self, columns: Mapping[str, Sequence[int]], texts: Mapping[str, ConstrainedTokens]) -> None:
        """Layer by layer, as the version that is being made sees the texts' tokens: where every token of a text is
        pinned, all layers' keys are those of the version without the edit.
        """
        positions = {edit: self.remaining[edit].positions(leaving_columns) for edit, leaving_columns in columns.items()}
        for layer in sorted({layer for edit in columns for layer in self.remaining[edit].layers}):
            matrices = self.matrices()
            for edit, at in positions.items():
                check(self.should_stop, "the revert")
                remaining = self.remaining[edit]
                if layer in remaining.layers:
                    pins, held = self._keys(matrices, texts.get(edit, ConstrainedTokens()), layer)
                    layer_state = remaining.layers[layer]
                    layer_state = layer_state if held is None else replace(layer_state, held=held)
                    layer_without, _ = without_columns(layer_state, at, self._metric(edit, layer), pins)
                    self._set_layer(edit, layer, layer_without)
        for edit, leaving_columns in columns.items():
            left = tuple(column for column in self.remaining[edit].columns if column not in set(leaving_columns))
            self.remaining[edit] = replace(self.remaining[edit], columns=left)

    def _keys(
        self, matrices: Mapping[int, Tensor], texts: ConstrainedTokens, layer: int
    ) -> tuple[Tensor | None, Tensor | None]:
        """Keys (d_in, n), float64, of the pinned and of the held tokens; None where there are none."""
        prefixes = [*texts.pinned, *texts.held]
        if not prefixes:
            return None, None
        # As the blob will keep the pins, so that what is solved from them later is the same.
        keys = keys_at(self.context.model.decoder, matrices, prefixes, layer).float().double()
        pins, held = keys[:, : len(texts.pinned)], keys[:, len(texts.pinned) :]
        return (pins if pins.shape[1] else None), (held if held.shape[1] else None)

    def _set_layer(self, edit: str, layer: int, layer_state: RemainingLayer) -> None:
        remaining = self.remaining[edit]
        self.remaining[edit] = replace(remaining, layers={**remaining.layers, layer: layer_state})

    def reoptimise(self, edit: str, facts: Sequence[Sequence[Fact]]) -> None:
        """Find new values for the columns of `edit` that come back, `facts` by column, and solve them in."""
        before = self.remaining[edit]
        settings = before.settings
        forms, tokenizer = before.chat_forms, self.context.model.backend_tokenizer
        contexts = contexts_of(tokenizer, before.contexts, forms, settings.chat_weight)
        groups = tokenized_groups(self.context, [fact for column in facts for fact in column], settings, forms)

        def put(layer: int, keys: Tensor, moved: Tensor) -> Tensor:
            layer_state, change = put_in(self.remaining[edit].layers[layer], keys, moved, self._metric(edit, layer))
            self._set_layer(edit, layer, layer_state)
            return change.B @ change.A

        self._edit(groups, contexts, settings, put)
        repair = settings.model_copy(update={"steps": settings.repair_steps})
        for _ in range(settings.repair_rounds):
            failing = self.context.measuring.failing_groups(self.matrices(), groups, contexts, self.should_stop)
            if not failing:
                break
            positions = [len(before.columns) + number for number in failing]

            def shift(layer: int, _: Tensor, moved: Tensor, positions: list[int] = positions) -> Tensor:
                layer_state, change = with_moved_outputs(
                    self.remaining[edit].layers[layer], positions, moved, self._metric(edit, layer)
                )
                self._set_layer(edit, layer, layer_state)
                return change.B @ change.A

            self._edit([groups[number] for number in failing], contexts, repair, shift)
        self.remaining[edit] = replace(
            self.remaining[edit], columns=(*before.columns, *self.affected[edit].reoptimised)
        )

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
        return () if before is None else self.remaining[edit].layers[layer].changes[len(before.changes) :]

    def deltas(self) -> dict[int, LayerDelta]:
        """The change of each layer in the float32 of its blob: factors, edit by edit; dense where that is smaller and a
        single edit changes it."""
        collected = {}
        for layer in sorted({layer for remaining in self.remaining.values() for layer in remaining.layers}):
            of_edits = [changes for edit in self.affected if (changes := self._changes(edit, layer))]
            if not of_edits:
                continue
            A = torch.cat([change.A for changes in of_edits for change in changes])
            B = torch.cat([change.B for changes in of_edits for change in changes], dim=1)
            if len(of_edits) == 1 and A.shape[0] * (A.shape[1] + B.shape[0]) > A.shape[1] * B.shape[0]:
                collected[layer] = LayerDelta(layer, None, None, (B @ A).float().cpu())
            else:
                collected[layer] = LayerDelta(layer, A.float().cpu(), B.float().cpu(), None)
        return collected

    def entries(self) -> list[dict[str, Any]]:
        """What was done to each edit, as the blob's header keeps it (`store.blobs.deltas`)."""
        return [
            {
                "edit": edit,
                "out": affected.leaving_columns,
                "in": list(affected.reoptimised),
                "ranks": self._ranks(edit),
            }
            for edit, affected in self.affected.items()
        ]

    def _ranks(self, edit: str) -> dict[str, int]:
        return {
            str(layer): sum(change.A.shape[0] for change in self._changes(edit, layer))
            for layer in self.remaining[edit].layers
        }

    def inserted_keys(self) -> dict[int, dict[int, InsertedKeys]]:
        """Layer → number of the edit in `entries` → the columns that came back, and where the edit was pinned."""
        collected: dict[int, dict[int, InsertedKeys]] = {}
        for number, (edit, affected) in enumerate(self.affected.items()):
            for layer, layer_state in self.remaining[edit].layers.items():
                keys = (
                    layer_state.keys[:, layer_state.keys.shape[1] - len(affected.reoptimised) :]
                    if affected.reoptimised
                    else None
                )
                pins = self._pins(edit, layer)
                if keys is not None or pins is not None:
                    collected.setdefault(layer, {})[number] = InsertedKeys(keys, pins)
        return collected

    def _pins(self, edit: str, layer: int) -> Tensor | None:
        """Where the edit's layer is pinned that was not before; None where nowhere."""
        pins, known = self.remaining[edit].layers[layer].pins, self._before[edit].layers[layer].pins
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
                for_good = before.positions(
                    [column for column in affected.leaving_columns if column not in affected.reoptimised]
                )
                keys.append(before.layers[layer].keys[:, for_good])
                outputs.append(before.layers[layer].at(keys[-1]))
        changes = [change for edit in self.affected for change in self._changes(edit, layer)]
        mu_used_most = max(change.mu_used for change in changes)
        worst_condition_number = max(change.condition_number for change in changes)
        K, R = torch.cat(keys, dim=1), -torch.cat(outputs, dim=1)
        solution = Solution(None, None, delta.delta().to(K.device), 0.0, mu_used_most, worst_condition_number, "keys")
        measures = layer_measures(weight, K, R, solution, self.statistics[layer].factor)
        return LayerReport(
            layer=layer,
            mu_asked=0.0,
            mu_used=mu_used_most,
            condition_number=worst_condition_number,
            memorization_error=measures.memorization_error,
            preservation_cost=measures.preservation_cost,
            relative_norm=measures.relative_norm,
            rank=delta.rank,
        )
