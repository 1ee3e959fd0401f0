"""docker-compose.yml keeps its promises: pinned, checked, limited, unprivileged, secrets from files."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib

import pytest
import yaml

from tests.deployment.compose_file import ONE_SHOT, OURS, PATH, ROOT, document, services
from tests.support import programs

NAMES = sorted(services())
SECRET = re.compile(r"(?i)(password|secret|token|api_key|database_url|redis_url)")


def test_it_has_what_a_production_service_needs() -> None:
    wanted = {*OURS, "redis", "postgres", "prometheus", "grafana", "blackbox"}
    assert set(services()) == wanted
    assert services()["housekeeping"]["profiles"] == ["housekeeping"], "it runs where it is asked for"
    assert services()["worker-cpu"]["profiles"] == ["cpu"]
    assert services()["worker-cuda"]["profiles"] == ["cuda"]


@pytest.mark.parametrize("name", NAMES)
def test_every_image_is_one_exact_version(name: str) -> None:
    tag = services()[name]["image"].partition(":")[2]
    assert re.match(r"v?\d+\.\d+", tag)
    if name in OURS:
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert tag.partition("-")[0] == version
        build = services()[name]["build"]
        assert (ROOT / build["dockerfile"]).exists()
        assert " AS " + build["target"] in (ROOT / build["dockerfile"]).read_text() if "target" in build else True


@pytest.mark.parametrize("name", NAMES)
def test_every_service_has_limits_a_health_check_and_few_rights(name: str) -> None:
    service = services()[name]

    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert "privileged" not in service
    if name == ONE_SHOT:
        assert (service["restart"], service["healthcheck"]) == ("no", {"disable": True})
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"
        assert {"interval", "timeout", "retries"} <= service["healthcheck"].keys()
    if name not in OURS:  # ours say it in their Dockerfiles
        assert re.fullmatch(r"(?!0\b|root)[\w-]+(:\d+)?", service["user"])


@pytest.mark.parametrize("name", NAMES)
def test_what_it_writes_lies_in_named_volumes_and_what_it_is_given_is_read_only(name: str) -> None:
    for volume in services()[name].get("volumes", ()):
        source, _, target = volume.partition(":")
        if source.startswith("."):
            assert target.endswith(":ro")
            assert (ROOT / source).exists()
        else:
            assert source in document()["volumes"]


@pytest.mark.parametrize("name", NAMES)
def test_secrets_come_from_files_alone(name: str) -> None:
    service = services()[name]
    for variable, value in service.get("environment", {}).items():
        assert not SECRET.search(variable) or value.startswith("/run/secrets/"), variable
    assert set(service.get("secrets", ())) <= document()["secrets"].keys()
    assert not [word for word in service.get("command", ()) if SECRET.search(word)]


def test_the_key_that_opens_everything_is_known_to_the_api_alone() -> None:
    assert [name for name in NAMES if "emmetd_api_key" in services()[name].get("secrets", ())] == ["api"]


def test_every_secret_is_made_by_the_script_and_none_is_committed() -> None:
    script = (ROOT / "docker" / "make-secrets.sh").read_text()
    for name, secret in document()["secrets"].items():
        assert secret == {"file": f"./docker/secrets/{name}"}
        assert f"keep_or_write {name} " in script
    assert (ROOT / "docker" / "secrets" / ".gitignore").read_text().splitlines()[-2:] == ["*", "!.gitignore"]


def test_only_the_front_can_be_reached_and_only_from_this_machine_unless_said_otherwise() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published.keys() == {"api", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert {name for name in published if "front" in services()[name]["networks"]} == published.keys()
    assert document()["networks"]["data"] == {"internal": True}
    for name in ("redis", "postgres"):
        assert services()[name]["networks"] == ["data"]


def test_traces_go_where_one_variable_says_from_the_api_and_from_workers_alike() -> None:
    for name in ("api", "worker-cpu", "worker-cuda"):
        assert services()[name]["environment"]["EMMETD_OTLP_ENDPOINT"] == ""  # so none, unless somebody asks for them
        assert "metrics" in services()[name]["networks"]
    assert PATH.read_text().count("${EMMETD_OTLP_ENDPOINT:-}") == 2


def test_nothing_starts_before_the_tables_are_there() -> None:
    for name in set(OURS) - {ONE_SHOT}:
        assert services()[name]["depends_on"][ONE_SHOT] == {"condition": "service_completed_successfully"}
    assert services()[ONE_SHOT]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_it_says_plainly_where_blobs_lie() -> None:
    for name in set(OURS) - {ONE_SHOT}:
        assert "blobs:/srv/emmetd/blobs" in services()[name]["volumes"]


@pytest.mark.parametrize("profile", ["cpu", "cuda"])
def test_compose_accepts_it(profile: str) -> None:
    command = [*programs.compose(), "--file", str(PATH), "--profile", profile, "config", "--no-path-resolution"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EMMETD_", "COMPOSE_"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    resolved = yaml.safe_load(done.stdout)["services"]
    off = {"housekeeping", "worker-cpu", "worker-cuda"} - {f"worker-{profile}"}
    assert resolved.keys() == services().keys() - off
    assert resolved["api"]["ports"][0]["host_ip"] == "127.0.0.1"
    worker = resolved[f"worker-{profile}"]
    assert worker["environment"]["EMMETD_THREADS"] == str(int(worker["deploy"]["resources"]["limits"]["cpus"]))


def test_compose_runs_the_housekeeping_where_its_profile_is_asked_for() -> None:
    profiles = ["--profile", "cpu", "--profile", "housekeeping"]
    command = [*programs.compose(), "--file", str(PATH), *profiles, "config", "--no-path-resolution"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EMMETD_", "COMPOSE_"))}
    given = {"EMMETD_RETENTION_FACT_DAYS": "30", "EMMETD_BACKUPS": "/srv/copies"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean | given)

    assert (done.returncode, done.stderr) == (0, "")
    service = yaml.safe_load(done.stdout)["services"]["housekeeping"]
    assert service["environment"]["EMMETD_RETENTION_FACT_DAYS"] == "30"
    assert service["environment"]["EMMETD_RETENTION_AUDIT_DAYS"] == ""
    assert [volume["source"] for volume in service["volumes"]] == ["blobs", "/srv/copies"]
