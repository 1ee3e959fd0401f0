"""Lines of batches by several methods over the same facts, as a table and a picture.

    emmetd reproduce sequential --facts counterfact.jsonl --output DIR --limit 512 --methods memit,defaults

In each draw `limit` facts with distinct subjects are cut into batches, and each batch is edited on what the ones before
it left. After each, EM of *all* facts so far is measured: what the method's own check of a batch does not see. What is
done is kept after each batch (`lines/`), and a run that was stopped goes on from there.
"""

from __future__ import annotations

import statistics as numbers
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api_schemas.facts import Fact
from benchmarks.figure import svg, write_png
from benchmarks.paper.records import ReproductionError, check_plan, digest, fact_id
from benchmarks.results import environment, write_result
from benchmarks.sequential.line import ON_SAMPLE, Line, Row, unedited
from benchmarks.sequential.methods import METHODS
from benchmarks.sequential.page import chart, table
from benchmarks.trial import distinct_subjects
from editing.atomic_files import exclusive
from editing.methods import EditSettings
from editing.metrics.intervals import interval_of_mean
from editing.model.loading import LoadedModel
from editing.progress import ProgressCallback, silent
from editing.solve.layers import check_together
from editing.values.chat_forms import chat_forms
from workers.measuring import Measuring
from workers.statistics.layer_statistics import LayerStatistics

UNEDITED: Final = "unedited"


@dataclass(frozen=True)
class LinesTask:
    """What to measure. `facts` are those of the file `facts_file`, of which each draw takes `limit`; `methods` are
    names of `METHODS`."""

    facts: Sequence[Fact]
    facts_file: Path
    limit: int
    batch_size: int
    draws: int
    methods: Sequence[str]
    command: str = ""


def measure_lines(
    task: LinesTask,
    model: LoadedModel,
    statistics: LayerStatistics,
    output: Path,
    *,
    on_progress: ProgressCallback = silent,
) -> Row:
    """Measure what `output` does not hold yet, write `results.json`, `table.md`, `figure.svg` and, with matplotlib,
    `figure.png` there after each line, and return what results.json has. Raises ReproductionError for another
    measurement's folder or too few facts, UnsupportedModelError where the model cannot take several layers."""
    draws = [distinct_subjects(model, task.facts, task.limit, draw) for draw in range(task.draws)]
    if len(draws[0]) < task.batch_size:
        raise ReproductionError(
            f"--batch-sizes {task.batch_size}: there are only {len(draws[0])} facts to edit (--limit {task.limit}, "
            f"distinct subjects of {str(task.facts_file)!r}); take a smaller size, a larger --limit or more facts"
        )
    has_chat_template = bool(chat_forms(model.tokenizer))
    settings = {name: METHODS[name].settings(model.shape, has_chat_template=has_chat_template) for name in task.methods}
    measuring = Measuring(model, statistics)
    with exclusive(output / "lines.lock"):
        _check_plan(task, model, statistics, output)
        rows: dict[str, list[list[Row]]] = {UNEDITED: [unedited(measuring, draw, task.batch_size) for draw in draws]}
        result: Row = {}
        for draw, facts in enumerate(draws):
            for name in task.methods:
                check_together(model.decoder, settings[name].layers)
                statistics.get(settings[name].layers, on_progress)
                named = digest([name, settings[name].model_dump(mode="json"), METHODS[name].consolidates_below])[:12]
                kept = output / "lines" / f"{name}-{draw}-{named}.safetensors"
                line = Line(
                    METHODS[name], settings[name], facts, task.batch_size, measuring, statistics, kept, on_progress
                )
                rows.setdefault(name, []).append(line.run())
                result = _write(task, model, rows, settings, output)
    return result


def _write(
    task: LinesTask,
    model: LoadedModel,
    rows: dict[str, list[list[Row]]],
    settings: dict[str, EditSettings],
    output: Path,
) -> Row:
    lines = {name: [_pooled(of_draws) for of_draws in zip(*draws, strict=True)] for name, draws in rows.items()}
    result: Row = {
        "model": model.name,
        "facts_file": task.facts_file.name,
        "limit": task.limit,
        "batch_size": task.batch_size,
        "draws": task.draws,
        "command": task.command,
        "environment": environment(),
        "complete": all(len(rows.get(name, ())) == task.draws for name in task.methods),
        "titles": {name: METHODS[name].title for name in task.methods},
        "settings": {name: one.model_dump(mode="json") for name, one in settings.items()},
        "lines": lines,
    }
    write_result(output / "results.json", result)
    (output / "table.md").write_text(table(result))
    picture = chart(result)
    (output / "figure.svg").write_text(svg(picture))
    write_png(picture, output / "figure.png")
    return result


def _pooled(of_draws: Sequence[Row]) -> Row:
    """The rows of the same batch of each draw as one: means, and the interval of EM over all their facts."""
    row: Row = {"facts": of_draws[0]["facts"], "draws": len(of_draws)}
    for name in ("EM", "EM_batch", "EM_earlier", "drift", "relative_norm"):
        known = [one[name] for one in of_draws if one.get(name) is not None]
        row[name] = numbers.fmean(known) if known else None
    for name in ON_SAMPLE:
        known = [one[name]["value"] for one in of_draws if one[name]["value"] is not None]
        row[name] = numbers.fmean(known) if known else None
    if "said" in of_draws[0]:
        said = [float(each == "1") for one in of_draws for each in one["said"]]
        row["EM_low"], row["EM_high"] = interval_of_mean(said)
    row["consolidated"] = sum("before_consolidating" in one for one in of_draws)
    return row


def _check_plan(task: LinesTask, model: LoadedModel, statistics: LayerStatistics, output: Path) -> None:
    """Note what the folder is of, or see that it is of the same. Methods and draws may be added."""
    plan = {
        "figure": "sequential",
        "model": model.fingerprint,
        "facts": digest([fact_id(fact) for fact in task.facts]),
        "limit": task.limit,
        "batch_size": task.batch_size,
        "corpus": [statistics.spec.corpus.name, statistics.spec.tokens],
    }
    check_plan(output, plan)
