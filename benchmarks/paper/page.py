"""What `benchmarks.paper.reproduce` found, as a table to read and a chart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.figure import Chart, Panel, Point, Series
from benchmarks.paper.figures import PaperFigure
from benchmarks.paper.scores import UNEDITED

Row = dict[str, Any]
COLUMNS: Final = ("ES", "PS", "NS", "S", "EM", "GA", "GE")
CHARTED: Final = ("ES", "PS", "NS", "S", "GA", "GE")
TITLES: Final = {
    "ES": "ES: the new target is likelier",
    "PS": "PS: also in other words",
    "NS": "NS: neighbors keep theirs",
    "S": "S: harmonic mean of the three",
    "GA": "GA: greedy answer is the target",
    "GE": "GE: entropy of what is written",
}


def table(figure: PaperFigure, about: Row, cells: Sequence[Row], complete: bool) -> str:
    """A Markdown page: what the paper shows, how this was measured, and every score with its interval."""
    shown = [name for name in COLUMNS if any(name in cell for cell in cells)]
    headings = ["method", "batch size", "facts", *shown, "drift (largest)", "‖Δ‖ / ‖W‖ (largest)"]
    lines = [
        f"# {figure.title}, measured anew",
        "",
        'Of "A Unified Framework for Model Editing" (arXiv 2403.14236). ' + figure.shows,
        "",
        *(f"- {line}" for line in _circumstances(about)),
        *([] if complete else ["", "**Not complete yet**: the same command goes on."]),
        "",
        "| " + " | ".join(headings) + " |",
        "|" + "---|" * len(headings),
    ]
    lines += ["| " + " | ".join(_cells(cell, shown)) + " |" for cell in cells]
    lines += [
        "",
        "Scores are means over the facts of all draws, in brackets the 95% interval over facts. Every batch is on the "
        "unedited model. Drift is perplexity on held-out text over the unedited model's, on up to "
        f"{about['drift_batches']} batches of each draw; ‖Δ‖ / ‖W‖ is that of the layer where it is largest; both as "
        "the mean over batches, in brackets the largest.",
        "",
        "Settings that differ between models (`results.json` has all of them):",
        "",
    ]
    lines += [f"- {name}: `{json.dumps(_brief(one['settings']))}`" for name, one in about["methods"].items()]
    return "\n".join([*lines, ""])


def chart(figure: PaperFigure, about: Row, cells: Sequence[Row]) -> Chart:
    """A panel for each score and for drift, a series for each method over the batch sizes."""
    sizes = about["batch_sizes"]
    by_key = {(cell["method"], cell["size"]): cell for cell in cells}
    unedited = by_key.get((UNEDITED, 0), {})
    panels = []
    for name in (name for name in CHARTED if name in unedited):
        series = tuple(
            Series(method, tuple(_point(by_key.get((method, size)), name) for size in sizes))
            for method in about["methods"]
        )
        panels.append(Panel(TITLES[name], series, unedited[name]["value"], limits=None if name == "GE" else (0.0, 1.0)))
    drift = tuple(
        Series(method, tuple(_mean_point(by_key.get((method, size))) for size in sizes)) for method in about["methods"]
    )
    panels.append(Panel("Drift: perplexity over the unedited model's", drift, 1.0))
    notes = (
        "arXiv 2403.14236: " + figure.shows,
        f"{about['model']}, {about['facts']} facts in each of {about['draws']} draw(s), {about['environment']['date']}."
        " Vertical lines: 95% intervals over facts.",
    )
    return Chart(
        f"{figure.title} ({about['model']})",
        "batch size",
        tuple(f"{size:,}" for size in sizes),
        tuple(panels),
        "unedited",
        notes,
    )


def _point(cell: Row | None, name: str) -> Point | None:
    if cell is None or cell[name]["value"] is None:
        return None
    return Point(cell[name]["value"], cell[name]["low"], cell[name]["high"])


def _mean_point(cell: Row | None) -> Point | None:
    return None if cell is None or cell["drift"]["mean"] is None else Point(cell["drift"]["mean"])


def _cells(cell: Row, shown: Sequence[str]) -> list[str]:
    scores = [_score(name, cell.get(name)) for name in shown]
    count = max((cell[name]["n"] for name in shown if name in cell), default=0)
    if cell["method"] == UNEDITED:
        return ["unedited", "–", str(count), *scores, "1", "0"]
    return [
        cell["method"],
        f"{cell['size']:,}",
        str(count),
        *scores,
        _spread(cell["drift"], "{:.3f}"),
        _spread(cell["relative_norm"], "{:.3f}"),
    ]


def _score(name: str, found: Row | None) -> str:
    if found is None or found["value"] is None:
        return "–"
    form = "{:.1f}" if name == "GE" else "{:.3f}"
    interval = "" if found["low"] is None else f" [{form.format(found['low'])}, {form.format(found['high'])}]"
    return form.format(found["value"]) + interval


def _spread(found: Row, form: str) -> str:
    return "–" if found["mean"] is None else f"{form.format(found['mean'])} ({form.format(found['largest'])})"


def _circumstances(about: Row) -> list[str]:
    environment = about["environment"]
    hardware = environment["accelerator"] or f"{environment['cores']} cores of {environment['processor']}"
    source = (
        "the authors' own for this model"
        if about["published_settings"]
        else "the authors' way with their figures for Llama-2-7B, as they did not edit this model; MEMIT's λ is a "
        "multiple of the mean eigenvalue of KᵀC⁻¹K, since an absolute one does not carry from model to model"
    )
    return [
        f"model {about['model']}, {about['draws']} draw(s) of {about['facts']} facts with distinct subjects from "
        f"{about['facts_file']}",
        f"settings of the paper's methods: {source}; emmetd's defaults stand beside them, at the same layers",
        f"{environment['date']}, {hardware}, PyTorch {environment['torch']}",
        f"`{about['command']}`",
    ]


def _brief(settings: Row) -> Row:
    names = ("layers", "steps", "clamp", "weight_decay", "mu", "mu_relative", "forms", "repair_rounds")
    return {name: settings[name] for name in names if settings[name] is not None}
