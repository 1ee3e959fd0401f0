"""The dashboards: what is checked in is what the lists of panels say, and nothing in them is unknown to anybody."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment import dashboards
from tests.deployment.compose_file import ROOT, services
from tests.deployment.metric_names import PROMETHEUS_OWN, exposed, recorded, used
from tests.support.programs import missing

GRAFANA = ROOT / "docker" / "grafana"
PLUGINS_OWN = re.compile(r"\.annotations\.list\[\d+\]\.(step|titleFormat|useValueForTime) is unknown")
"""What Grafana hands to the Prometheus plug-in as it is: its published types do not cover it."""

paths = pytest.mark.parametrize("path", dashboards.PATHS, ids=[path.stem for path in dashboards.PATHS])


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in dashboards.document(path)["panels"] if panel["type"] != "row"]


def test_the_files_are_what_the_lists_of_panels_make() -> None:
    done = subprocess.run(
        [sys.executable, str(GRAFANA / "build_dashboards.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("query", dashboards.asked(), ids=str)
def test_every_query_asks_for_metrics_that_exist(query: dashboards.Asked) -> None:
    assert used(query.expr) <= exposed() | recorded() | PROMETHEUS_OWN


@paths
def test_variables_and_annotations_ask_for_metrics_that_exist(path: Path) -> None:
    document = dashboards.document(path)
    asked = [variable["query"]["query"] for variable in document["templating"]["list"] if variable["type"] == "query"]
    metrics = {re.fullmatch(r"label_values\((\w+), \w+\)", query)[1] for query in asked}  # type: ignore[index]
    assert metrics <= exposed()
    for expr in dashboards.annotations():
        assert used(expr) <= exposed()


@paths
def test_every_panel_has_a_unit_a_description_and_a_place_of_its_own(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboards.document(path)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells
        taken |= cells
    for panel in panels(path):
        assert len(panel["description"]) > 10
        assert panel["type"] in ("heatmap", "table") or panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
    numbers = [panel["id"] for panel in dashboards.document(path)["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_everything_that_was_promised_is_shown() -> None:
    shown = {name for query in dashboards.asked() for name in used(query.expr)}
    promised = {
        "emmetd_edit_stage_duration_seconds_bucket",
        "emmetd_queue_depth",
        "emmetd_queue_oldest_age_seconds",
        "emmetd_facts_edited_total",
        "emmetd_version_metric_ratio",
        "emmetd_generation_time_to_first_token_seconds_bucket",
        "emmetd_generation_tokens_total",
        "emmetd_worker_up",
        "emmetd_store_bytes",
        "emmetd_store_free_bytes",
        "emmetd_tasks_running",
        "emmetd_deployment_in_step",
        "deployment:emmetd_deployment_lag_seconds:max",
        "deployment:emmetd_deployment_check_ratio:max",
        "emmetd:emmetd_http_request_errors:ratio_rate5m",
    }
    assert promised <= shown
    heat = [panel for path in dashboards.PATHS for panel in panels(path) if panel["type"] == "heatmap"]
    assert any("emmetd_edit_stage_duration_seconds" in panel["targets"][0]["expr"] for panel in heat)


def test_identities_are_unique_and_provisioning_points_at_what_is_mounted() -> None:
    uids = [dashboards.document(path)["uid"] for path in dashboards.PATHS]
    assert len(set(uids)) == len(uids)
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "emmetd.yml").read_text())["providers"][0]
    volumes = services()["grafana"]["volumes"]
    assert f"./docker/grafana/dashboards:{provider['options']['path']}:ro" in volumes
    home = services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (dashboards.FOLDER / Path(home).name).exists()
    source = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"][0]
    prometheus = yaml.safe_load((ROOT / "docker" / "prometheus" / "prometheus.yml").read_text())
    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"].split()[0] == prometheus["global"]["scrape_interval"]


@paths
def test_grafanas_own_types_know_every_field(path: Path) -> None:
    """Read into Grafana's published types and written again, nothing may be lost or become something else."""
    if importlib.util.find_spec("grafana_foundation_sdk") is None:
        missing("Grafana's schema", "pip install grafana-foundation-sdk")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    document = dashboards.document(path)
    known = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(document)))
    assert [place for place in lost(document, known) if not PLUGINS_OWN.fullmatch(place)] == []


def lost(ours: Any, theirs: Any, at: str = "") -> list[str]:
    """Where `theirs` lacks something of `ours` or has another value."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            place
            for name, value in ours.items()
            for place in (
                lost(value, theirs[name], f"{at}.{name}") if name in theirs else absent(value, f"{at}.{name}")
            )
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [place for n, (one, other) in pairs for place in lost(one, other, f"{at}[{n}]")]
    return [] if ours == theirs else [f"{at}: {ours!r} became {theirs!r}"]


def absent(value: Any, at: str) -> list[str]:
    """What is empty or null may be left out."""
    return [] if value in (None, [], {}, "") else [f"{at} is unknown"]
