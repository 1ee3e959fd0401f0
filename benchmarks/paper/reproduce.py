"""The paper's figures 3 and 4 and its table 1 on any model, measured anew.

What each shows says `benchmarks.paper.figures`.

    emmetd reproduce figure3 --facts counterfact.jsonl --output DIR --limit 64 --batch-sizes 1,4,16 --seeds 3

In each draw `limit` facts with distinct subjects are cut into batches of each size. Every batch is edited on the
unedited model and its own facts are measured there, so that each size is measured on the same facts. A fact's value
does not depend on its batch: it is found once, and used by all methods with the same settings for it and by all sizes.

What is done is kept at once: values in `values/`, and each batch as a line of `rows.jsonl`. A run that was stopped goes
on from there and ends with the numbers that it would have had. `plan.json` says what the folder is of; another model,
other facts or other settings are refused there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import torch

from api_schemas.facts import Fact
from benchmarks.figure import svg, write_png
from benchmarks.paper.figures import Method, PaperFigure, has_published_settings, methods_of
from benchmarks.paper.page import chart, table
from benchmarks.paper.records import (
    ReproductionError,
    Row,
    RowKey,
    check_plan,
    digest,
    fact_id,
    keep_row,
    read_rows,
    row_key,
)
from benchmarks.paper.scores import PARTS, UNEDITED, summary
from benchmarks.results import environment, write_result
from benchmarks.trial import AFTER_VALUES, distinct_subjects, grouped, keep_values, read_values, solved
from editing.atomic_files import exclusive, whole_file
from editing.model.loading import LoadedModel
from editing.progress import ProgressCallback, silent
from editing.solve.layers import changed, check_together
from editing.values.chat_forms import chat_forms
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.optimisation import optimise_values
from editing.values.value_set import Values, in_group_order
from workers.measuring import Measuring
from workers.statistics.layer_statistics import LayerStatistics

METRICS: Final = (*PARTS, "EM", "GA")
VALUES_TOGETHER: Final = 64
"""Facts whose values are found and kept together: what an interrupted run does anew at most."""
DRIFT_BATCHES: Final = 4
"""Batches of a size, in each draw, that drift is measured on: with single edits it would be most of the time."""
SOLVE_ONLY: Final = (*AFTER_VALUES, "condition_limit", "protect", "protect_weight", "ridge", "alpha", "anchor_norm")
"""Settings that values do not depend on, but for the last of the layers."""

OnRow = Callable[[Row], None]


@dataclass(frozen=True)
class Task:
    """What to measure. `facts` are those of the file `facts_file`, of which each draw takes `limit`."""

    figure: PaperFigure
    facts: Sequence[Fact]
    facts_file: Path
    limit: int
    batch_sizes: tuple[int, ...]
    draws: int
    with_entropy: bool = False
    command: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        return (*METRICS, "GE") if self.with_entropy else METRICS


def reproduce(
    task: Task,
    model: LoadedModel,
    statistics: LayerStatistics,
    output: Path,
    *,
    on_progress: ProgressCallback = silent,
    on_row: OnRow | None = None,
) -> Row:
    """Measure what `output` does not hold yet, write `results.json`, `table.md`, `figure.svg` and, with matplotlib,
    `figure.png` there after each draw, and return what results.json has.

    `on_row` hears of each new row. Raises ReproductionError, UnsupportedModelError for several layers where the model
    cannot take them, and FactError for a fact that the model cannot.
    """
    with exclusive(output / "rows.jsonl"):
        return _Reproduction(task, model, statistics, output, on_progress, on_row).run()


class _Reproduction:
    def __init__(
        self,
        task: Task,
        model: LoadedModel,
        statistics: LayerStatistics,
        output: Path,
        on_progress: ProgressCallback,
        on_row: OnRow | None,
    ) -> None:
        self.task, self.model, self.statistics, self.output = task, model, statistics, output
        self.on_progress, self.on_row = on_progress, on_row
        self.forms = chat_forms(model.tokenizer)
        self.methods = methods_of(task.figure, model.shape, has_chat_template=bool(self.forms))
        for method in self.methods:
            check_together(model.decoder, method.settings.layers)
        self.measuring = Measuring(model, statistics)
        self.draws = [distinct_subjects(model, task.facts, task.limit, draw) for draw in range(task.draws)]
        found, largest = len(self.draws[0]), max(task.batch_sizes)
        if found < largest:
            raise ReproductionError(
                f"--batch-sizes {largest}: there are only {found} facts to edit (--limit {task.limit}, distinct "
                f"subjects of {str(task.facts_file)!r}); take a smaller size, a larger --limit or more facts"
            )
        self._check_plan()
        self.rows = read_rows(output / "rows.jsonl")

    def run(self) -> Row:
        done = {row_key(row) for row in self.rows}
        wanted = [cell for draw in range(self.task.draws) for cell in self._cells(draw)]
        missing = [cell for cell in wanted if cell[0] not in done]
        if not missing:
            return self._write(complete=True)
        prepared: dict[tuple[str, int], _Prepared] = {}
        result: Row = {}
        for count, (key, method) in enumerate(missing, 1):
            name, size, draw, number = key
            facts = self.draws[draw]
            if method is None:
                row = self._measured({}, facts, drift=False)
            else:
                if (name, draw) not in prepared:
                    prepared = {(name, draw): self._prepared(method, facts, draw)}
                row = self._edited(method, prepared[name, draw], facts, size, number)
            self._keep({"method": name, "size": size, "draw": draw, "batch": number, **row})
            self.on_progress("batches", len(wanted) - len(missing) + count, len(wanted))
            if count == len(missing) or missing[count][0][2] != draw:
                result = self._write(complete=count == len(missing))
        return result

    def _cells(self, draw: int) -> Iterator[tuple[RowKey, Method | None]]:
        """Every row of a draw: the unedited model, then every batch of each method and size."""
        yield (UNEDITED, 0, draw, 0), None
        for method in self.methods:
            for size in self.task.batch_sizes:
                for number in range(-(-len(self.draws[draw]) // size)):
                    yield (method.name, size, draw, number), method

    def _edited(self, method: Method, prepared: _Prepared, facts: Sequence[Fact], size: int, number: int) -> Row:
        settings, decoder = method.for_batch(size), self.model.decoder
        members = range(number * size, min((number + 1) * size, len(facts)))
        groups = [prepared.groups[member] for member in members]
        edit = solved(
            self.measuring,
            method.algorithm,
            self.statistics.get(settings.layers),
            groups,
            prepared.contexts,
            _of(prepared.values, members),
            settings,
        )
        deltas = {layer: one.delta() for layer, one in edit.layers.items()}
        matrices = {layer: changed(decoder.projections[layer], None, delta) for layer, delta in deltas.items()}
        norms = {
            layer: float(delta.norm()) / float(decoder.projections[layer].weight.double().norm())
            for layer, delta in deltas.items()
        }
        batches = -(-len(facts) // size)
        row = self._measured(matrices, [facts[member] for member in members], drift=number in spaced(batches))
        return row | {
            "relative_norms": {str(layer): norm for layer, norm in norms.items()},
            "mu_used": {str(layer): one.solutions[-1].mu_used for layer, one in edit.layers.items()},
            "repaired": list(edit.repaired),
        }

    def _measured(self, matrices: dict[int, torch.Tensor], facts: Sequence[Fact], *, drift: bool) -> Row:
        found = self.measuring.evaluate(matrices, facts, (*self.task.metrics, *(["drift"] if drift else [])))
        return {
            "facts": [fact_id(fact) for fact in facts],
            "of_facts": [{name: one[name] for name in self.task.metrics} for one in found.of_facts],
            "drift": found.metrics["drift"].value if drift else None,
        }

    def _prepared(self, method: Method, facts: Sequence[Fact], draw: int) -> _Prepared:
        settings = method.settings
        self.statistics.get(settings.layers, self.on_progress)
        groups, contexts = grouped(self.model, facts, settings)
        kept = digest([max(settings.layers), settings.model_dump(mode="json", exclude=set(SOLVE_ONLY))])
        portions = []
        for start in range(0, len(groups), VALUES_TOGETHER):
            file = self.output / "values" / f"{kept[:16]}-{draw}-{start}.safetensors"
            if not file.exists():
                some = groups[start : start + VALUES_TOGETHER]
                found = optimise_values(self.model.decoder, {}, some, contexts, settings, on_progress=self.on_progress)
                with whole_file(file) as part:
                    keep_values(part, found, 0.0)
            portions.append(read_values(file)[0])
        return _Prepared(groups, contexts, in_group_order(portions, range(len(groups))))

    def _keep(self, row: Row) -> None:
        keep_row(self.output / "rows.jsonl", row)
        self.rows.append(row)
        if self.on_row is not None:
            self.on_row(row)

    def _write(self, complete: bool) -> Row:
        task = self.task
        about: Row = {
            "figure": task.figure.name,
            "model": self.model.name,
            "facts_file": task.facts_file.name,
            "facts": len(self.draws[0]),
            "draws": task.draws,
            "batch_sizes": list(task.batch_sizes),
            "drift_batches": DRIFT_BATCHES,
            "published_settings": has_published_settings(self.model.shape),
            "environment": environment(),
            "command": task.command,
            "methods": {
                method.name: {"algorithm": method.algorithm, "settings": method.settings.model_dump(mode="json")}
                for method in self.methods
            },
        }
        wanted = {(UNEDITED, 0)} | {(method.name, size) for method in self.methods for size in task.batch_sizes}
        rows = [row for row in self.rows if (row["method"], row["size"]) in wanted and row["draw"] < task.draws]
        order = [UNEDITED, *(method.name for method in self.methods)]
        rows.sort(key=lambda row: (order.index(row["method"]), row["size"], row["draw"], row["batch"]))
        cells = summary(rows, task.metrics)
        result = {**about, "complete": complete, "results": cells}
        write_result(self.output / "results.json", result)
        (self.output / "table.md").write_text(table(task.figure, about, cells, complete))
        picture = chart(task.figure, about, cells)
        (self.output / "figure.svg").write_text(svg(picture))
        write_png(picture, self.output / "figure.png")
        return result

    def _check_plan(self) -> None:
        """Note what the folder is of, or see that it is of the same. Sizes and draws may be added."""
        plan = {
            "figure": self.task.figure.name,
            "model": self.model.fingerprint,
            "facts": digest([fact_id(fact) for fact in self.task.facts]),
            "limit": self.task.limit,
            "metrics": list(self.task.metrics),
            "corpus": [self.statistics.spec.corpus.name, self.statistics.spec.tokens],
            "settings": {method.name: method.settings.model_dump(mode="json") for method in self.methods},
        }
        check_plan(self.output, plan)


@dataclass(frozen=True)
class _Prepared:
    """A draw's groups, one for each fact, with their values under one method's settings."""

    groups: Sequence[SubjectGroup]
    contexts: Sequence[Context]
    values: Values


def spaced(batches: int, wanted: int = DRIFT_BATCHES) -> set[int]:
    """At most `wanted` of so many batches, evenly spaced, the first and the last among them."""
    if batches <= wanted:
        return set(range(batches))
    return {round(place * (batches - 1) / (wanted - 1)) for place in range(wanted)}


def _of(values: Values, members: range) -> Values:
    """The values of some groups."""
    tensors = {
        field.name: getattr(values, field.name)[members.start : members.stop]
        for field in fields(Values)
        if field.name != "layer"
    }
    return replace(values, **tensors)
