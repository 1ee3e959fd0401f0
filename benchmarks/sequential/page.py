"""What lines came to, as a table to read and a chart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.figure import Chart, Panel, Point, Series

Row = dict[str, Any]
COLUMNS: Final = ("EM", "EM_batch", "EM_earlier", "ES", "PS", "NS", "GA", "GA_paraphrase", "GA_chat")
CHARTED: Final = {
    "EM": "EM of all facts so far",
    "GA_chat": "GA_chat: said in conversation (sample)",
    "GA_paraphrase": "GA_paraphrase: said in other words (sample)",
    "NS": "NS: neighbors keep theirs (sample)",
    "drift": "Drift: perplexity over the unedited model's",
    "relative_norm": "‖Δ‖ / ‖W‖, the layer where it is largest",
}
WITHOUT_LIMITS: Final = ("drift", "relative_norm")


def table(result: Mapping[str, Any]) -> str:
    """A Markdown page: how it was measured, and each line's scores after each batch."""
    hardware = result["environment"]["accelerator"]
    hardware = hardware or f"{result['environment']['cores']} cores of {result['environment']['processor']}"
    lines = [
        "# Lines of batches",
        "",
        f"- model {result['model']}, {result['draws']} draw(s) of {result['limit']} facts with distinct subjects from "
        f"{result['facts_file']}, in batches of {result['batch_size']}, each edited on what the ones before it left",
        f"- {result['environment']['date']}, {hardware}, PyTorch {result['environment']['torch']}",
        f"- `{result['command']}`",
        *([] if result["complete"] else ["", "**Not complete yet**: the same command goes on."]),
        "",
        "EM is that of all facts so far, with its 95% interval over facts; EM_batch that of the newest batch and "
        "EM_earlier that of the ones before it; the other scores are those of up to 64 facts of all ages.",
        "",
        "| line | facts | " + " | ".join(COLUMNS) + " | drift | ‖Δ‖ / ‖W‖ |",
        "|" + "---|" * (len(COLUMNS) + 4),
    ]
    for name, rows in result["lines"].items():
        title = result["titles"].get(name, name)
        for row in rows:
            mark = " (consolidated)" if row["consolidated"] else ""
            scores = " | ".join(_score(row, column) for column in COLUMNS)
            ends = f"{row['drift']:.3f} | {row['relative_norm']:.3f}"
            lines.append(f"| {title}{mark} | {row['facts']:,} | {scores} | {ends} |")
    return "\n".join([*lines, ""])


def chart(result: Mapping[str, Any]) -> Chart:
    """A panel for each score, a series for each method over the facts so far."""
    lines, titles = result["lines"], result["titles"]
    base = lines["unedited"]
    panels = []
    for name, title in CHARTED.items():
        series = tuple(
            Series(titles[method], tuple(_point(row, name) for row in rows)) for method, rows in lines.items()
            if method != "unedited"
        )  # fmt: skip
        known = [row[name] for row in base if row[name] is not None]
        baseline = known[-1] if known else None
        panels.append(Panel(title, series, baseline, None if name in WITHOUT_LIMITS else (0.0, 1.0)))
    notes = (
        f"{result['model']}, {result['limit']:,} facts in batches of {result['batch_size']}, {result['draws']} draw(s)"
        f", {result['environment']['date']}. Vertical lines: 95% intervals over facts.",
    )
    places = tuple(f"{row['facts']:,}" for row in base)
    return Chart(f"A line of batches ({result['model']})", "facts so far", places, tuple(panels), "unedited", notes)


def _point(row: Row, name: str) -> Point | None:
    if row[name] is None:
        return None
    return Point(row[name], row.get("EM_low"), row.get("EM_high")) if name == "EM" else Point(row[name])


def _score(row: Row, name: str) -> str:
    value = row.get(name)
    if value is None:
        return "–"
    low, high = (row.get("EM_low"), row.get("EM_high")) if name == "EM" else (None, None)
    return f"{value:.3f}" if low is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
