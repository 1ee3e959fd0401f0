"""The stack as docker-compose.yml starts it: every part healthy, every graph with data, every alert silent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deployment import dashboards
from tests.deployment.answers import has_values, result
from tests.deployment.compose_file import services
from tests.deployment.manifests import scaling_queries
from tests.deployment.stack import Stack, running_stack, wait_until
from tests.support.programs import lint_metrics


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, verify=False, timeout=10) as client:
        yield client


@pytest.mark.parametrize("name", ["api", "worker-cpu", "redis", "postgres", "prometheus", "blackbox"])
def test_health_checks_tell_a_running_service_from_a_stopped_one(stack: Stack, name: str) -> None:
    assert stack.is_healthy(name)
    elsewhere = Stack(stack.folder)
    assert not elsewhere.is_healthy(name)


def test_the_api_is_ready_and_wants_the_key_from_the_file(stack: Stack, http: httpx.Client) -> None:
    assert http.get(f"{stack.api_url}/readyz").status_code == 200
    assert http.get(f"{stack.api_url}/v1/models").status_code == 401
    key = (stack.secrets / "emmetd_api_key").read_text()
    answer = http.get(f"{stack.api_url}/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200


def test_secrets_are_in_no_command_line_and_no_log(stack: Stack) -> None:
    passwords = [
        (stack.secrets / name).read_text() for name in ("redis_password", "postgres_password", "emmetd_api_key")
    ]
    shown = [stack.log(name) for name in stack.processes]
    shown += [Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace") for process in stack.processes.values()]
    assert not [password for password in passwords for text in shown if password in text]


def test_the_nightly_round_makes_a_backup_and_its_health_check_knows(stack: Stack) -> None:
    assert not stack.is_healthy("housekeeping")
    command = [word for word in services()["housekeeping"]["command"] if word != "--daily"]
    done = stack.run("housekeeping", command)
    assert done.returncode == 0, done.stdout + done.stderr
    (backup,) = (stack.folder / "backups").iterdir()
    checked = stack.run("housekeeping", ["emmetd", "restore", str(backup), "--check"])
    assert "is whole" in checked.stdout, checked.stderr
    assert stack.is_healthy("housekeeping")


def test_prometheus_reads_every_target(stack: Stack, http: httpx.Client) -> None:
    def all_up() -> bool:
        targets = http.get(f"{stack.prometheus_url}/api/v1/targets").json()["data"]["activeTargets"]
        jobs = {target["labels"]["job"]: target["health"] for target in targets}
        return jobs == dict.fromkeys(("emmetd-api", "emmetd-worker", "emmetd-readyz", "prometheus"), "up")

    wait_until(all_up, lambda: http.get(f"{stack.prometheus_url}/api/v1/targets").text)


def test_every_panel_shows_data(stack: Stack, http: httpx.Client) -> None:
    key = (stack.secrets / "emmetd_api_key").read_text()
    waiting = dashboards.asked()

    def all_answered() -> bool:
        http.get(f"{stack.api_url}/v1/models", headers={"Authorization": f"Bearer {key}"})
        http.get(f"{stack.api_url}/v1/models")  # refused, and shown among the refusals
        waiting[:] = [query for query in waiting if not has_values(result(http, stack, query.expr))]
        return not waiting

    wait_until(all_answered, lambda: "\n".join(f"{query}: {query.expr}" for query in waiting))


def test_prometheus_understands_the_annotations(stack: Stack, http: httpx.Client) -> None:
    for expr in dashboards.annotations():
        result(http, stack, expr)


def test_the_autoscaler_gets_a_number(stack: Stack, http: httpx.Client) -> None:
    """Also for completions, of which none wait."""
    for query in scaling_queries():
        assert len(result(http, stack, query.replace("smollm2-135m", "tiny"))) == 1
        assert result(http, stack, query.replace("smollm2-135m", "nobody")) == []


def test_no_alert_fires_in_a_healthy_stack(stack: Stack, http: httpx.Client) -> None:
    assert [found["metric"] for found in result(http, stack, 'ALERTS{alertstate="firing"}')] == []


@pytest.mark.parametrize("name", ["api", "worker"])
def test_the_metrics_are_named_as_prometheus_wants_it(stack: Stack, http: httpx.Client, name: str) -> None:
    lint_metrics(http.get(f"http://127.0.0.1:{stack.ports[name]}/metrics").text)
