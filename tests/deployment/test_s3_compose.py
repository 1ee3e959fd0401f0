"""docker-compose.s3.yml lays an object store over the services, with no more rights than it needs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from configuration.settings import load_settings
from tests.deployment import programs
from tests.deployment.compose_file import PATH, ROOT, S3_PATH, s3_document

STORE = ("s3", "s3-volume")


def test_what_it_sets_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for name, value in s3_document()["services"]["api"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.blob_url, settings.s3.endpoint) == ("s3://emmetd/blobs", "http://s3:9000")
    bucket = settings.blob_url.split("/")[2]
    assert f"mkdir -p /data/{bucket}" in s3_document()["services"]["s3-volume"]["command"][-1]


def test_every_secret_is_a_file_that_the_script_makes() -> None:
    script = (ROOT / "docker" / "make-secrets.sh").read_text()
    for name, secret in s3_document()["secrets"].items():
        assert secret == {"file": f"./docker/secrets/{name}"}
        assert f"keep_or_write {name} " in script
    store = s3_document()["services"]["s3"]
    named = [value for name, value in store["environment"].items() if name.endswith("_FILE")]
    assert sorted(named) == sorted(f"/run/secrets/{name}" for name in store["secrets"])


@pytest.mark.parametrize("name", STORE)
def test_the_store_has_few_rights(name: str) -> None:
    service = s3_document()["services"][name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in service
    assert service["image"].partition(":")[2] not in ("", "latest")
    if name == "s3":
        assert (service["user"], service["networks"]) == ("1000:1000", ["data"])
    else:  # it owns the folder for a moment, and reaches nobody
        assert (service["network_mode"], service["restart"]) == ("none", "no")


@pytest.mark.parametrize("profile", ["cpu", "cuda"])
def test_compose_accepts_both_together(profile: str) -> None:
    files = ["--file", str(PATH), "--file", str(S3_PATH)]
    command = [*programs.compose(), *files, "--profile", profile, "config", "--no-path-resolution"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EMMETD_", "COMPOSE_"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)

    assert (done.returncode, done.stderr) == (0, "")
    resolved = yaml.safe_load(done.stdout)["services"]
    assert set(STORE) <= resolved.keys()
    for name in ("api", f"worker-{profile}"):
        service = resolved[name]
        assert service["environment"]["EMMETD_BLOB_URL"] == "s3://emmetd/blobs"
        assert service["environment"]["EMMETD_LOG_FORMAT"] == "json"
        assert {one["source"] for one in service["secrets"]} >= {"emmetd_s3_secret_access_key", "emmetd_database_url"}
        assert service["depends_on"].keys() >= {"s3", "migrate"}
        assert "data" in service["networks"]
