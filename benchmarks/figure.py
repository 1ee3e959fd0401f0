"""Draws a chart of panels, each with a series for each method over the same places, as SVG; as PNG by matplotlib.

The SVG is written by hand: a few lines, markers and texts, so that nothing needs to be installed for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart with every kind of colour vision (Okabe and Ito)."""
DASHES = ("none", "7 3", "2 2", "8 3 2 3", "4 4", "1 3")
COLUMNS = 3
PANEL_WIDTH, PANEL_HEIGHT = 300, 215
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 26, 40
HEADER, LINE = 64, 16
SPREAD = 9.0
"""Between the markers of two series at one place, so that their intervals can be seen."""
FONT = "font-family='system-ui, sans-serif'"


@dataclass(frozen=True)
class Point:
    """A value with its interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """`points` stand at the chart's places, in their order; None where nothing was measured."""

    name: str
    points: tuple[Point | None, ...]


@dataclass(frozen=True)
class Panel:
    """`baseline` is drawn across, `limits` are those of the y axis; None takes what the points need."""

    title: str
    series: tuple[Series, ...]
    baseline: float | None = None
    limits: tuple[float, float] | None = None

    def range(self) -> tuple[float, float]:
        if self.limits is not None:
            return self.limits
        known = [] if self.baseline is None else [self.baseline]
        for point in (point for one in self.series for point in one.points if point is not None):
            known += [value for value in (point.value, point.low, point.high) if value is not None]
        if not known:
            return 0.0, 1.0
        margin = 0.08 * (max(known) - min(known)) or 0.05 * abs(known[0]) or 0.5
        return min(known) - margin, max(known) + margin


@dataclass(frozen=True)
class Chart:
    """`places` label the x axis; `notes` stand below; `baseline` says what the panels' lines across are."""

    title: str
    x_label: str
    places: tuple[str, ...]
    panels: tuple[Panel, ...]
    baseline: str
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all series, each once."""
        return tuple(dict.fromkeys(one.name for panel in self.panels for one in panel.series))


def svg(chart: Chart) -> str:
    """The chart as an SVG document. Each series is a group of class `series` with its name as `data-method`."""
    rows = -(-len(chart.panels) // COLUMNS)
    width = COLUMNS * PANEL_WIDTH
    height = HEADER + rows * PANEL_HEIGHT + LINE * len(chart.notes) + 10
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' "
        f"role='img' aria-label={quoteattr(chart.title)}>",
        f"<rect width='{width}' height='{height}' fill='white'/>",
        _text(12, 24, chart.title, size=16, weight="bold"),
        *_legend(chart),
    ]
    for number, panel in enumerate(chart.panels):
        x, y = number % COLUMNS * PANEL_WIDTH, HEADER + number // COLUMNS * PANEL_HEIGHT
        parts += [f"<g transform='translate({x} {y})'>", *_panel(chart, panel), "</g>"]
    below = HEADER + rows * PANEL_HEIGHT + 8
    parts += [_text(12, below + LINE * line, note, size=11, fill="#444") for line, note in enumerate(chart.notes)]
    return "\n".join([*parts, "</svg>", ""])


def _legend(chart: Chart) -> Iterator[str]:
    x = 12.0
    for number, name in enumerate(chart.names):
        yield _line(x, 44, x + 24, 44, COLOURS[number % len(COLOURS)], 2, DASHES[number % len(DASHES)])
        yield _text(x + 30, 48, name, size=12)
        x += 48 + 7 * len(name)
    yield _line(x, 44, x + 24, 44, "#777", 1, "3 3")
    yield _text(x + 30, 48, chart.baseline, size=12)


def _panel(chart: Chart, panel: Panel) -> Iterator[str]:
    low, high = panel.range()
    right, bottom = PANEL_WIDTH - RIGHT, PANEL_HEIGHT - BOTTOM
    step = (right - LEFT) / len(chart.places)

    def y_of(value: float) -> float:
        return bottom - (min(max(value, low), high) - low) / (high - low) * (bottom - TOP)

    yield _text(LEFT, TOP - 10, panel.title, size=12, weight="bold")
    for tick in range(5):
        value = low + (high - low) * tick / 4
        yield _line(LEFT, y_of(value), right, y_of(value), "#e3e3e3", 1)
        yield _text(LEFT - 5, y_of(value) + 4, f"{value:.4g}", size=10, anchor="end", fill="#444")
    for place, label in enumerate(chart.places):
        yield _text(LEFT + (place + 0.5) * step, bottom + 15, label, size=10, anchor="middle", fill="#444")
    yield _text((LEFT + right) / 2, bottom + 30, chart.x_label, size=10, anchor="middle", fill="#444")
    if panel.baseline is not None:
        yield _line(LEFT, y_of(panel.baseline), right, y_of(panel.baseline), "#777", 1, "3 3")
    for one in panel.series:
        number = chart.names.index(one.name)
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        shift = (number - (len(chart.names) - 1) / 2) * min(SPREAD, step / (len(chart.names) + 1))
        drawn = [
            (LEFT + (place + 0.5) * step + shift, point) for place, point in enumerate(one.points) if point is not None
        ]
        yield f"<g class='series' data-method={quoteattr(one.name)}>"
        yield f"<title>{escape(one.name)}: {escape(panel.title)}</title>"
        if len(drawn) > 1:
            path = " ".join(f"{x:.1f},{y_of(point.value):.1f}" for x, point in drawn)
            stroke = f"stroke='{colour}' stroke-width='2' stroke-dasharray='{dash}'"
            yield f"<polyline points='{path}' fill='none' {stroke}/>"
        for x, point in drawn:
            if point.low is not None and point.high is not None:
                yield _line(x, y_of(point.low), x, y_of(point.high), colour, 1.5)
            yield f"<circle cx='{x:.1f}' cy='{y_of(point.value):.1f}' r='3.2' fill='{colour}'/>"
        yield "</g>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, dash: str = "none") -> str:
    return (
        f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' stroke-width='{width}' "
        f"stroke-dasharray='{dash}'/>"
    )


def _text(
    x: float, y: float, text: str, *, size: int, anchor: str = "start", weight: str = "normal", fill: str = "#111"
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {FONT} font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' "
        f"fill='{fill}'>{escape(text)}</text>"
    )


def write_png(chart: Chart, path: Path) -> bool:
    """The same chart by matplotlib, where it is installed; whether it is."""
    try:
        figures: Any = importlib.import_module("matplotlib.figure")
    except ImportError:
        return False
    rows = -(-len(chart.panels) // COLUMNS)
    figure = figures.Figure(figsize=(4 * COLUMNS, 2.9 * rows + 1.2), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for number, ax in enumerate(axes.flat):
        if number >= len(chart.panels):
            ax.set_axis_off()
            continue
        panel = chart.panels[number]
        ax.set(title=panel.title, xlabel=chart.x_label, ylim=panel.range(), xlim=(-0.5, len(chart.places) - 0.5))
        ax.set_xticks(range(len(chart.places)), chart.places)
        ax.grid(axis="y", alpha=0.3)
        if panel.baseline is not None:
            ax.axhline(panel.baseline, color="#777", linewidth=1, linestyle=":", label=chart.baseline)
        for one in panel.series:
            colour = COLOURS[chart.names.index(one.name) % len(COLOURS)]
            shift = 0.04 * (chart.names.index(one.name) - (len(chart.names) - 1) / 2)
            drawn = [(place + shift, point) for place, point in enumerate(one.points) if point is not None]
            ax.plot([x for x, _ in drawn], [point.value for _, point in drawn], "o-", color=colour, label=one.name)
            spans = [(x, point.low, point.high) for x, point in drawn if None not in (point.low, point.high)]
            ax.vlines(*zip(*spans, strict=True), color=colour) if spans else None
    figure.suptitle(chart.title)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)))
    figure.savefig(path, dpi=120)
    return True
