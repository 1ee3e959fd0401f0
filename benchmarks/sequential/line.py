"""One line: its batches edited one on the other in this process, as a worker edits them, and measured after each.

What a stopped run goes on from (`LineState`) is one file, replaced after each batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from api_schemas.facts import Fact
from benchmarks.sequential.methods import LineMethod
from benchmarks.trial import by_subject, grouped, solved
from editing.atomic_files import whole_file
from editing.methods import EditSettings, rehearsed_facts
from editing.progress import ProgressCallback, silent
from editing.solve.batch import BatchEdit
from editing.solve.consolidating import kept_values, repairing
from editing.solve.layers import changed
from editing.values.optimisation import optimise_values
from workers.measuring import Measuring
from workers.statistics.layer_statistics import LayerStatistics

Row = dict[str, Any]
Item = TypeVar("Item")
SAMPLE: Final = 64
"""Facts so far, of all ages alike, that the dearer scores are measured on."""
ON_SAMPLE: Final = ("ES", "PS", "NS", "GA", "GA_paraphrase", "GA_chat")


@dataclass
class LineState:
    """The edited matrices by layer, in the module's layout; by layer the keys (d_in, n) of all facts so far; the states
    (n, d_out) that they were last optimised for; and a row of measurements for each batch that is done."""

    matrices: dict[int, Tensor] = field(default_factory=dict)
    keys: dict[int, Tensor] = field(default_factory=dict)
    wanted: Tensor | None = None
    rows: list[Row] = field(default_factory=list)

    def save(self, path: Path) -> None:
        tensors = {f"matrix.{layer}": matrix for layer, matrix in self.matrices.items()}
        tensors |= {f"keys.{layer}": keys for layer, keys in self.keys.items()}
        if self.wanted is not None:
            tensors["wanted"] = self.wanted
        with whole_file(path) as part:
            found = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(found, part, metadata={"rows": json.dumps(self.rows)})

    @classmethod
    def load(cls, path: Path, device: torch.device) -> LineState:
        """What `save` wrote; a new line where there is no file."""
        if not path.exists():
            return cls()
        state = cls()
        with safe_open(path, framework="pt", device=str(device)) as file:
            state.rows = json.loads(file.metadata()["rows"])
            for name in file.keys():  # noqa: SIM118 - not a mapping
                kind, _, layer = name.partition(".")
                if kind == "wanted":
                    state.wanted = file.get_tensor(name)
                else:
                    (state.matrices if kind == "matrix" else state.keys)[int(layer)] = file.get_tensor(name)
        return state


class Line:
    """`facts` with distinct subjects, in batches of `size`, by `method`; the state is kept in the file `kept`."""

    def __init__(
        self,
        method: LineMethod,
        settings: EditSettings,
        facts: Sequence[Fact],
        size: int,
        measuring: Measuring,
        statistics: LayerStatistics,
        kept: Path,
        on_progress: ProgressCallback = silent,
    ) -> None:
        self.method, self.settings, self.facts, self.size = method, settings, facts, size
        self.measuring, self.statistics, self.kept, self.on_progress = measuring, statistics, kept, on_progress
        self.model = measuring.model
        self.state = LineState.load(kept, self.model.decoder.device)

    @property
    def batches(self) -> int:
        return -(-len(self.facts) // self.size)

    def run(self) -> list[Row]:
        """Edit the batches that are not done yet; a row for each of all."""
        for number in range(len(self.state.rows), self.batches):
            batch = self.facts[number * self.size : (number + 1) * self.size]
            self._edit(batch, self.facts[: number * self.size])
            known = self.facts[: number * self.size + len(batch)]
            row = self._measured(known, len(batch))
            limit = self.method.consolidates_below
            if limit is not None and row["EM_earlier"] is not None and row["EM_earlier"] < limit:
                self._consolidate(known)
                row = {**self._measured(known, len(batch)), "before_consolidating": row}
            self.state.rows.append(row)
            self.state.save(self.kept)
            self.on_progress("batches", number + 1, self.batches)
        return self.state.rows

    def _edit(self, facts: Sequence[Fact], before: Sequence[Fact] = ()) -> None:
        """Edit `facts` on what the line is, listening to some of those edited `before`."""
        decoder, settings, state = self.model.decoder, self.settings, self.state
        groups, contexts = grouped(self.model, facts, settings, state.matrices)
        values = optimise_values(decoder, state.matrices, groups, contexts, settings, on_progress=self.on_progress)
        found = self.statistics.get(settings.layers)
        heard = sample(before, rehearsed_facts(settings, len(groups)))
        edit = solved(
            self.measuring,
            self.method.algorithm,
            found,
            groups,
            contexts,
            values,
            settings,
            state.matrices,
            state.keys,
            by_subject(self.model, heard, settings),
        )
        self._apply(edit, state.matrices)
        for layer, one in edit.layers.items():
            own = one.keys.float()
            state.keys[layer] = torch.cat([state.keys[layer], own], 1) if layer in state.keys else own
        assert edit.wanted is not None
        own = edit.wanted.float()
        state.wanted = own if state.wanted is None else torch.cat([state.wanted, own])

    def _consolidate(self, facts: Sequence[Fact]) -> None:
        """All facts as one batch on the unedited model, from the states that they were optimised for."""
        decoder, settings = self.model.decoder, repairing(self.settings)
        groups, contexts = grouped(self.model, facts, settings)
        assert self.state.wanted is not None
        values = kept_values(decoder, {}, groups, contexts, self.state.wanted, max(settings.layers))
        found = self.statistics.get(settings.layers)
        edit = solved(self.measuring, self.method.algorithm, found, groups, contexts, values, settings)
        self.state.matrices, self.state.keys = {}, {layer: one.keys.float() for layer, one in edit.layers.items()}
        self._apply(edit, {})
        assert edit.wanted is not None
        self.state.wanted = edit.wanted.float()

    def _apply(self, edit: BatchEdit, matrices: Mapping[int, Tensor]) -> None:
        projections = self.model.decoder.projections
        own = {
            layer: changed(projections[layer], matrices.get(layer), one.delta()) for layer, one in edit.layers.items()
        }
        self.state.matrices = {**matrices, **own}

    def _measured(self, known: Sequence[Fact], newest: int) -> Row:
        """EM of all facts so far, of the newest batch and of the ones before it; the dearer scores on a sample; drift
        and the largest relative norm of the change."""
        matrices, projections = self.state.matrices, self.model.decoder.projections
        said = [one["EM"] or 0.0 for one in self.measuring.evaluate(matrices, known, ("EM",)).of_facts]
        earlier, own = said[: len(said) - newest], said[len(said) - newest :]
        sampled = self.measuring.measure(matrices, sample(known), ON_SAMPLE)
        norms = [
            float((matrix.double() - projections[layer].weight.double()).norm())
            / float(projections[layer].weight.double().norm())
            for layer, matrix in matrices.items()
        ]
        return {
            "facts": len(known),
            "EM": sum(said) / len(said),
            "EM_batch": sum(own) / len(own),
            "EM_earlier": sum(earlier) / len(earlier) if earlier else None,
            "said": "".join("1" if one else "0" for one in said),
            "drift": self.measuring.measure(matrices, [], ("drift",))["drift"].value,
            "relative_norm": max(norms),
            **{name: sampled[name].model_dump(mode="json") for name in ON_SAMPLE},
        }


def sample(facts: Sequence[Item], wanted: int = SAMPLE) -> list[Item]:
    """At most `wanted` of `facts`, evenly spaced: all ages alike, and the same for every method."""
    if len(facts) <= wanted:
        return list(facts)
    return [facts[place * len(facts) // wanted] for place in range(wanted)]


def unedited(measuring: Measuring, facts: Sequence[Fact], size: int) -> list[Row]:
    """The same scores of the unedited model, at the same numbers of facts."""
    said = [one["EM"] or 0.0 for one in measuring.evaluate({}, facts, ("EM",)).of_facts]
    rows = []
    for end in [*range(size, len(facts), size), len(facts)]:
        sampled = measuring.measure({}, sample(facts[:end]), ON_SAMPLE)
        scores = {name: one.model_dump(mode="json") for name, one in sampled.items() if name in ON_SAMPLE}
        rows.append({"facts": end, "EM": sum(said[:end]) / end, "drift": 1.0, "relative_norm": 0.0, **scores})
    return rows
