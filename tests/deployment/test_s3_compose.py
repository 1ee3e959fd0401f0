"""docker-compose.s3.yml lays an object store over the services, with no more rights than it needs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from configuration.settings import load_settings
from store.blobs.opening import open_blob_store
from tests.deployment.compose_file import PATH, ROOT, S3_PATH, s3_document
from tests.support import programs
from tests.support.programs import program
from tests.support.s3_server import S3Server

STORE = ("s3", "s3-volume", "s3-bucket")


def test_what_it_sets_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for name, value in s3_document()["services"]["api"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.blob_url, settings.s3.endpoint) == ("s3://emmetd/blobs", "http://s3:9000")
    made = s3_document()["services"]["s3-bucket"]["environment"]
    assert settings.blob_url.startswith(f"s3://{made['S3_BUCKET']}/")
    assert (made["S3_ENDPOINT"], made["S3_REGION"]) == (settings.s3.endpoint, settings.s3.region)


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
    if name != "s3-volume":
        assert (service["user"], service["networks"]) == ("1000:1000", ["data"])
        assert (service["restart"] == "no") == (name == "s3-bucket")
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
        assert service["depends_on"].keys() >= {"s3-bucket", "migrate"}
        assert "data" in service["networks"]


class Store:
    """The file's service s3 on this machine, and its commands with what is in the containers replaced."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.endpoint, self.folder = server.access.endpoint, folder
        script = ROOT / "docker" / "make-secrets.sh"
        subprocess.run(["sh", script, folder / "secrets"], check=True, stdout=subprocess.DEVNULL)

    def make_bucket(self, **changed: str) -> subprocess.CompletedProcess[str]:
        service = s3_document()["services"]["s3-bucket"]
        program("curl")
        environment = {
            **{
                name: value.replace("http://s3:9000", str(self.endpoint))
                for name, value in service["environment"].items()
            },
            "S3_SECRETS": str(self.folder / "secrets"),
            "PATH": os.environ["PATH"],
        }
        words = [word.replace("/etc/s3/", f"{ROOT}/docker/s3/") for word in service["entrypoint"]]
        return subprocess.run(words, env=environment | changed, capture_output=True, text=True, check=False)


@pytest.fixture
def store(_s3_server: S3Server, tmp_path: Path) -> Store:
    return Store(_s3_server, tmp_path)


def test_the_bucket_is_made_once_and_takes_blobs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = store.make_bucket(), store.make_bucket()
    assert (first.returncode, first.stdout) == (0, "the bucket emmetd was made\n"), first.stderr
    assert (again.returncode, again.stdout) == (0, "the bucket emmetd is there\n"), again.stderr

    for name, value in s3_document()["services"]["api"]["environment"].items():
        monkeypatch.setenv(name, value.replace("http://s3:9000", str(store.endpoint)))
    for name in ("emmetd_s3_access_key_id", "emmetd_s3_secret_access_key"):
        monkeypatch.setenv(name.upper(), (store.folder / "secrets" / name).read_text())
    settings = load_settings(data=store.folder)
    blobs = open_blob_store(settings.blob_url, settings.s3)
    assert blobs.get(blobs.put(b"a delta")) == b"a delta"


def test_a_store_that_refuses_or_is_away_is_told(store: Store) -> None:
    refused = store.make_bucket(S3_BUCKET="No Bucket")
    assert refused.returncode != 0
    away = store.make_bucket(S3_ENDPOINT="http://127.0.0.1:1", S3_RETRIES="0")
    assert away.returncode != 0
    assert away.stderr


def test_the_keys_of_the_store_are_in_no_command_line(store: Store, tmp_path: Path) -> None:
    spy = tmp_path / "curl"
    spy.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\ncat > /dev/null\nprintf 200\n')
    spy.chmod(0o755)
    store.make_bucket(PATH=f"{tmp_path}:{os.environ['PATH']}")
    said = (tmp_path / "said").read_text()
    assert "/emmetd" in said
    assert (tmp_path / "secrets" / "emmetd_s3_secret_access_key").read_text() not in said


def test_the_volume_is_given_to_the_user_that_the_store_runs_as(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    service = s3_document()["services"]["s3-volume"]
    owner = s3_document()["services"]["s3"]["user"]
    assert f"chown -R {owner} /data" in service["command"][-1]
    here = owner if os.geteuid() == 0 else f"{os.geteuid()}:{os.getegid()}"  # who may give files away is root alone
    words = [word.replace("/data", str(tmp_path)).replace(owner, here) for word in service["command"]]
    subprocess.run(words, check=True)
    assert {f"{path.stat().st_uid}:{path.stat().st_gid}" for path in (tmp_path, tmp_path / "below")} == {here}
