"""Prometheus's configuration: accepted, its alerts tested and explained, its queries about metrics that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment.compose_file import ROOT, services
from tests.deployment.metric_names import PROMETHEUS_OWN, exposed, recorded, used
from tests.support.programs import program

PROMETHEUS = ROOT / "docker" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
CASES = sorted((PROMETHEUS / "tests").glob("*_test.yml"))


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)


def test_each_alert_fires_when_it_should_and_keeps_quiet_when_not() -> None:
    promtool("test", "rules", *CASES)


def test_the_probes_configuration_is_accepted() -> None:
    exporter = program("prometheus-blackbox-exporter")
    command = [exporter, "--config.check", "--config.file", PROMETHEUS / "blackbox.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tests = [test for path in CASES for test in yaml.safe_load(path.read_text())["tests"]]
    for alert in (rule["alert"] for rule in ALERTS):
        about = [test for test in tests for check in test["alert_rule_test"] if check["alertname"] == alert]
        checks = [check for test in about for check in test["alert_rule_test"] if check["alertname"] == alert]
        assert any(check["exp_alerts"] for check in checks), alert
        # Several series of which one fires are a case of silence too.
        assert any(not check["exp_alerts"] for check in checks) or any(len(t["input_series"]) > 1 for t in about), alert


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_is_explained(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert all(text.endswith(".") for text in rule["annotations"].values())
    explained = (ROOT / "docs" / "operations" / "monitoring.md").read_text()
    assert re.search(rf"^### {rule['alert']}$", explained, re.MULTILINE)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_ask_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert used(rule["expr"]) <= exposed() | recorded() | PROMETHEUS_OWN


def test_every_metric_is_explained() -> None:
    explained = (ROOT / "docs" / "operations" / "monitoring.md").read_text()
    named = set(re.findall(r"^\| `(emmetd_\w+)`", explained, re.MULTILINE))
    assert named == {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed()}


def test_targets_are_services_and_ports_of_the_compose_file() -> None:
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    discovered = {
        (name, found["port"]) for job in jobs for found in job.get("dns_sd_configs", ()) for name in found["names"]
    }
    assert discovered == {("api", 8000), ("worker", 9100)}
    for name in ("worker-cpu", "worker-cuda"):
        assert services()[name]["networks"]["metrics"] == {"aliases": ["worker"]}
        assert services()[name]["environment"]["EMMETD_WORKER_METRICS_PORT"] == "9100"
    for name in ("api", "prometheus", "blackbox", "grafana"):
        assert "metrics" in services()[name]["networks"]
