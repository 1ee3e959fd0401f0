"""The parts of a Grafana dashboard as plain functions: queries, panels and the grid they lie on.

Everything that all panels share is said here once, so that `build_dashboards.py` reads as a list of what is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final

from variables import SOURCE, Json, source_variable

SCHEMA_VERSION: Final = 41
GRID_WIDTH: Final = 24
GRAPH_HEIGHT: Final = 8

GREEN, AMBER, RED, BLUE = "green", "orange", "red", "blue"


@dataclass(frozen=True)
class Query:
    """A PromQL expression and what its series are called. `instant` asks for the present only."""

    expr: str
    legend: str = ""
    instant: bool = False


@dataclass(frozen=True)
class Panel:
    """A panel that has no place yet: `width` and `height` in cells of the 24 columns wide grid."""

    body: Json
    width: int
    height: int = GRAPH_HEIGHT


@dataclass(frozen=True)
class Row:
    """Panels under one heading, laid left to right and wrapped."""

    title: str
    panels: Sequence[Panel]


def quantiles(metric: str, by: str = "", selector: str = "", window: str = "$window") -> list[Query]:
    """The median, the 95th and the 99th percentile of a histogram, per label `by` where one is given."""
    labels = f"{by}, le" if by else "le"
    suffix = f" {{{{{by}}}}}" if by else ""
    return [
        Query(
            f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{selector}}}[{window}])))",
            f"{name}{suffix}",
        )
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    ]


def graph(
    title: str,
    queries: Iterable[Query],
    description: str,
    unit: str = "short",
    *,
    width: int = 12,
    stacked: bool = False,
    top: float | None = None,
    limits: Sequence[tuple[float, str]] = (),
) -> Panel:
    """Lines over time from zero up; `limits` draws lines at (value, colour) that a value should stay away from."""
    defaults: Json = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "palette-classic"},
        "custom": {
            "drawStyle": "line",
            "lineInterpolation": "linear",
            "lineWidth": 1,
            "fillOpacity": 25 if stacked else 8,
            "showPoints": "never",
            "spanNulls": False,  # a gap is a fact: nothing was measured then
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if limits else "off"},
        },
        "thresholds": _thresholds([(None, "transparent" if limits else GREEN), *limits]),
    }
    if top is not None:
        defaults["max"] = top
    options: Json = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel(_panel("timeseries", title, description, queries, defaults, options), width)


def heatmap(title: str, metric: str, description: str, selector: str = "", *, width: int = 12) -> Panel:
    """How a histogram's observations in seconds spread over its buckets, over time."""
    query = Query(f"sum by (le) (increase({metric}_bucket{{{selector}}}[$__rate_interval]))", "{{le}}")
    options: Json = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "short"},
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "fill": "dark-orange",
            "scale": "exponential",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
        "yAxis": {"axisPlacement": "left", "unit": "s", "reverse": False},
    }
    custom = {"hideFrom": {"legend": False, "tooltip": False, "viz": False}, "scaleDistribution": {"type": "linear"}}
    body = _panel("heatmap", title, description, [query], {"custom": custom}, options)
    body["targets"][0]["format"] = "heatmap"
    return Panel(body, width)


def stat(
    title: str,
    query: Query,
    description: str,
    unit: str = "short",
    *,
    width: int = 4,
    steps: Sequence[tuple[float | None, str]] = ((None, BLUE),),
    words: dict[str, str] | None = None,
) -> Panel:
    """One number with its recent course. `steps` colours it from each value on; `words` says values in words."""
    defaults: Json = {"unit": unit, "color": {"mode": "thresholds"}, "thresholds": _thresholds(steps)}
    if words:
        mappings = {value: {"text": text, "index": index} for index, (value, text) in enumerate(words.items())}
        defaults["mappings"] = [{"type": "value", "options": mappings}]
    options: Json = {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }
    return Panel(_panel("stat", title, description, [query], defaults, options), width, height=4)


def table(title: str, query: Query, description: str, columns: dict[str, str], *, width: int = 12) -> Panel:
    """The present series as rows. `columns`: label or `Value` → heading, in order; other labels are left out."""
    body = _panel(
        "table", title, description, [query], {"custom": {"align": "auto"}}, {"showHeader": True, "cellHeight": "sm"}
    )
    body["targets"][0] |= {"format": "table", "instant": True, "range": False}
    body["transformations"] = [
        {"id": "filterFieldsByName", "options": {"include": {"names": list(columns)}}},
        {
            "id": "organize",
            "options": {"indexByName": {name: at for at, name in enumerate(columns)}, "renameByName": columns},
        },
    ]
    return Panel(body, width)


def dashboard(uid: str, title: str, description: str, variables: Sequence[Json], rows: Iterable[Row]) -> Json:
    """The whole document. Published versions are marked on every graph."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["emmetd"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": "now-6h", "to": "now"},
        "links": [_link()],
        "annotations": {"list": [_published()]},
        "templating": {"list": [source_variable(), *variables]},
        "panels": _placed(rows),
    }


def _panel(kind: str, title: str, description: str, queries: Iterable[Query], defaults: Json, options: Json) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "targets": [_target(query, ref) for query, ref in zip(queries, ascii_uppercase, strict=False)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def _target(query: Query, ref: str) -> Json:
    return {
        "refId": ref,
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": query.instant,
        "range": not query.instant,
    }


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> Json:
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def _placed(rows: Iterable[Row]) -> list[Json]:
    placed: list[Json] = []
    y = 0
    for row in rows:
        heading = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        placed.append({**heading, "id": len(placed) + 1, "gridPos": {"x": 0, "y": y, "w": GRID_WIDTH, "h": 1}})
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > GRID_WIDTH:
                x, y, tallest = 0, y + tallest, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            placed.append({**panel.body, "id": len(placed) + 1, "gridPos": place})
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return placed


def _link() -> Json:
    return {
        "title": "emmetd",
        "type": "dashboards",
        "tags": ["emmetd"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }


def _published() -> Json:
    return {
        "name": "Published versions",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": BLUE,
        "expr": 'max by (model, version) (emmetd_model_version_info{alias="latest"})'
        ' unless max by (model, version) (emmetd_model_version_info{alias="latest"} offset 1m)',
        "step": "1m",
        "titleFormat": "{{model}}@{{version}}",
        "useValueForTime": False,
    }
