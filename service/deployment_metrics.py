"""What Prometheus is told of deployments, when it asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy.orm import Session

from store.clock import now
from store.work import deployments

_LABELS: Final = ("model", "follows", "target", "name")


def deployment_metrics(session: Session) -> Iterable[Metric]:
    in_step = GaugeMetricFamily(
        "emmetd_deployment_in_step", "Whether the target serves the version that it shall: 1, else 0", labels=_LABELS
    )
    lag = GaugeMetricFamily(
        "emmetd_deployment_lag_seconds", "Seconds since when it has not; 0 while it does", labels=_LABELS
    )
    checked = GaugeMetricFamily(
        "emmetd_deployment_check_ratio",
        "Of the newest check there: facts said and ordinary prompts answered alike, as shares",
        labels=(*_LABELS, "of"),
    )
    moment = now()
    for row in deployments.all_deployments(session):
        labels = [row.model, deployments.followed(row).partition("@")[2], row.target, row.name]
        in_step.add_metric(labels, float(row.state == "deployed" and row.actual == row.desired))
        lag.add_metric(labels, deployments.lag_seconds(row, moment))
        check = row.last_check or {}
        if check.get("facts"):
            checked.add_metric([*labels, "facts"], check["said"] / check["facts"])
        if check.get("prompts"):
            checked.add_metric([*labels, "prompts"], (check["equal"] + check["near_ties"]) / check["prompts"])
    return in_step, lag, checked
