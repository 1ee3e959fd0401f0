"""Charts as inline SVG: a bar for each version under each metric, and how facts are spread over a metric's values.

A chart is a grid of HTML whose cells hold drawings that stretch, so that its words keep their size on any screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from api_schemas.metrics import Measurement
from editing.metrics import METRICS

_OWN_SCALE: Final = ("GE", "drift")
"""Metrics that are no shares, and are drawn from 0 to the largest that was measured."""


def is_share(name: str) -> bool:
    """Whether the metric's values lie between 0 and 1."""
    return name not in _OWN_SCALE and not name.endswith("_magnitude")


def bars(name: str, measured: Mapping[str, Measurement]) -> str:
    """One metric of several versions, by NAME@vN, with the intervals that it was measured with."""
    values = [edge for one in measured.values() for edge in (one.value, one.low, one.high) if edge is not None]
    least = min([0.0, *values])
    most = 1.0 if is_share(name) else max([least + 1e-9, *values]) * 1.05
    rows = [_bar(number, version, one, least, most) for number, (version, one) in enumerate(measured.items())]
    title = METRICS[name].title
    return (
        f"<figure><h3>{escape(name)}</h3><figcaption>{escape(title)}{_scale(name, most)}</figcaption>"
        f"{''.join(rows)}</figure>"
    )


def spread(name: str, versions: Sequence[str], values: Sequence[Mapping[str, Mapping[str, float | None]]]) -> str:
    """Of each version the share of facts with 0, something between, and 1, of those that count in the metric."""
    rows = []
    for version in versions:
        counted = [value for one in values if (value := one.get(version, {}).get(name)) is not None]
        if counted:
            rows.append(_spread_row(version, counted))
    if not rows:
        return ""
    return f"<figure><h3>{escape(name)}, fact by fact</h3>{''.join(rows)}</figure>"


def _bar(number: int, version: str, one: Measurement, least: float, most: float) -> str:
    def at(value: float) -> float:
        return round(100 * (min(max(value, least), most) - least) / (most - least), 3)

    drawn = '<rect class="track" x="0" y="3" width="100" height="6"/>'
    if one.value is not None:
        start, end = sorted((at(0.0), at(one.value)))
        drawn += f'<rect class="c{number % 8}" x="{start:g}" y="1" width="{end - start:g}" height="10"/>'
    if one.low is not None and one.high is not None:
        drawn += f'<line class="whisker" x1="{at(one.low):g}" x2="{at(one.high):g}" y1="6" y2="6"/>'
        drawn += "".join(
            f'<line class="whisker" x1="{at(edge):g}" x2="{at(edge):g}" y1="3" y2="9"/>' for edge in (one.low, one.high)
        )
    return _row(version, drawn, f"{version}: {written(one)}", number_text(one.value))


def _spread_row(version: str, counted: Sequence[float]) -> str:
    zero = sum(value <= 0 for value in counted) / len(counted)
    whole = sum(value >= 1 for value in counted) / len(counted)
    parts = (("zero", zero), ("part", max(0.0, 1 - zero - whole)), ("one", whole))
    drawn, start = "", 0.0
    for kind, share in parts:
        drawn += f'<rect class="{kind}" x="{100 * start:.3f}" y="1" width="{100 * share:.3f}" height="10"/>'
        start += share
    said = f"{version}: {zero:.0%} of facts at 0, {parts[1][1]:.0%} between, {whole:.0%} at 1"
    return _row(version, drawn, said, f"{whole:.0%}")


def _row(version: str, drawn: str, label: str, value: str) -> str:
    svg = (
        f'<svg viewBox="0 0 100 12" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f"<title>{escape(label)}</title>{drawn}</svg>"
    )
    short = version.rpartition("@")[2]
    return f'<div class="bar"><span>{escape(short)}</span>{svg}<span class="value">{escape(value)}</span></div>'


def _scale(name: str, most: float) -> str:
    return "" if is_share(name) else f", from 0 to {most:.3g}"


def number_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def written(one: Measurement) -> str:
    """0.875 [0.75, 1], n = 16"""
    interval = "" if one.low is None or one.high is None else f" [{one.low:.3g}, {one.high:.3g}]"
    return f"{number_text(one.value)}{interval}, n = {one.n:,}"
