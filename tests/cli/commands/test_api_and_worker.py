"""`emmetd api` and `emmetd worker` as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import make_url

from cli.commands.worker import set_thread_environment
from cli.supervision.listener import listen, url_of
from cli.supervision.private_redis import PrivateRedis
from configuration.machine.cpus import usable_cpus
from configuration.settings import load_settings
from store.lineage import models
from store.schema.database import Database, migrate
from tests.support.postgres import Cluster, Databases, require_postgres
from tests.support.tiny_loaded import save_tiny

EMMETD = (sys.executable, "-P", "-m", "cli.main")


@pytest.fixture
def environment(redis_server: PrivateRedis, database_url: str, tmp_path: Path) -> dict[str, str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("EMMETD_")}
    settings = load_settings(data=tmp_path, database_url=database_url, redis_url=redis_server.url, auth="off")
    return {**bare, **settings.as_environment()}


def test_the_api_answers_on_the_socket_it_is_given_and_never_loads_pytorch(environment: dict[str, str]) -> None:
    with listen("127.0.0.1", 0) as listener:
        fd = listener.fileno()
        process = subprocess.Popen([*EMMETD, "api", "--fd", str(fd)], env=environment, pass_fds=[fd])
        try:
            with httpx.Client(base_url=url_of(listener), trust_env=False, timeout=60) as client:
                assert client.get("/livez").status_code == 200
                assert client.get("/readyz").status_code == 503
                assert client.get("/openapi.json").status_code == 200
                assert client.get("/v1/models").status_code == 200
                assert client.post("/v1/edits", json={"model": "none", "facts": []}).status_code == 422
            assert "torch" not in Path(f"/proc/{process.pid}/maps").read_text()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in (0, -signal.SIGTERM)


@pytest.mark.parametrize("command", ["api", "worker"])
def test_without_redis_it_ends_as_a_configuration_error(command: str, environment: dict[str, str]) -> None:
    del environment["EMMETD_REDIS_URL"]
    done = subprocess.run([*EMMETD, command], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 78
    assert "EMMETD_REDIS_URL=redis://" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_that_will_not_fit_says_what_to_lower_and_does_not_load_its_model(
    environment: dict[str, str], tmp_path: Path
) -> None:
    folder = save_tiny(tmp_path / "tiny-llama")
    environment |= {
        "EMMETD_MATRIX_CACHE_BYTES": "900TiB",
        "EMMETD_MODEL": str(folder),
        "EMMETD_MEMORY_PLAN": "enforced",
    }
    command = [*EMMETD, "worker"]
    migrate(environment["EMMETD_DATABASE_URL"])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 78, done.stderr
    assert "does not fit: at its peak" in done.stderr
    assert "set EMMETD_MATRIX_CACHE_BYTES=" in done.stderr
    assert "EMMETD_MEMORY_PLAN=told starts it all the same" in done.stderr
    assert "Traceback" not in done.stderr
    assert "memory plan" in done.stdout + done.stderr
    assert "memory for serving" not in done.stdout + done.stderr


def test_a_worker_without_its_model_ends_as_a_configuration_error(environment: dict[str, str], tmp_path: Path) -> None:
    command = [*EMMETD, "worker", "--model", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 78
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_told_another_revision_than_the_registered_one_ends_as_a_configuration_error(
    environment: dict[str, str], database_url: str
) -> None:
    database = Database(database_url)
    with database.writing() as session:
        models.register(session, "mine", "owner/tiny", revision="a" * 40)
    database.close()
    command = [*EMMETD, "worker", "--model-name", "mine", "--revision", "b" * 40]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 78
    assert f"registered at revision {'a' * 40}, but this worker was told revision '{'b' * 40}'; leave" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_settles_its_threads_before_pytorch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    set_thread_environment(load_settings(device="cuda"))
    assert "OMP_NUM_THREADS" not in os.environ
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"]) == ("ACTIVE", "1000")
    set_thread_environment(load_settings())
    assert int(os.environ["OMP_NUM_THREADS"]) == usable_cpus()
    set_thread_environment(load_settings(threads=3))
    assert os.environ["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize("command", ["api", "worker", "migrate"])
def test_a_wrong_password_of_the_database_ends_it_at_once(
    command: str, environment: dict[str, str], postgres_databases: Databases
) -> None:
    url = make_url(postgres_databases.cluster.url()).set(password="not-this-one")
    environment |= {"EMMETD_DATABASE_URL": url.render_as_string(hide_password=False), "EMMETD_AUTH": "on"}
    done = subprocess.run([*EMMETD, command], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 78
    assert "password authentication failed" in done.stderr
    assert "set EMMETD_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
    assert "not-this-one" not in done.stderr


def test_the_api_says_that_its_database_is_away_at_the_start_and_goes_on_by_itself(environment: dict[str, str]) -> None:
    require_postgres()
    cluster = Cluster()
    environment["EMMETD_DATABASE_URL"] = cluster.url()
    with listen("127.0.0.1", 0) as listener:
        fd = listener.fileno()
        process = subprocess.Popen([*EMMETD, "api", "--fd", str(fd)], env=environment, pass_fds=[fd])
        try:
            with httpx.Client(base_url=url_of(listener), trust_env=False, timeout=60) as client:
                assert client.get("/livez").status_code == 200
                away = client.get("/readyz")
                assert (away.status_code, away.json()["detail"]) == (503, "waiting: the database does not answer")
                cluster.start()
                migrate(cluster.url())
                assert "no worker has registered a model yet" in client.get("/readyz").json()["detail"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            cluster.close()


def test_a_migration_waits_for_its_database_and_gives_up_in_the_end(environment: dict[str, str]) -> None:
    environment |= {"EMMETD_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x", "EMMETD_DATABASE_WAIT_SECONDS": "0.1"}
    command = [*EMMETD, "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    waiting, given_up = done.stderr.splitlines()
    assert waiting.startswith("emmetd: waiting for the database postgresql+psycopg://u:********@127.0.0.1:1/x, for 0 s")
    assert "is away: it did not answer within 0.1 s" in given_up
    assert "EMMETD_DATABASE_WAIT_SECONDS" in given_up


def test_the_api_alone_does_not_run_without_keys(environment: dict[str, str]) -> None:
    done = subprocess.run([*EMMETD, "api"], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 78
    assert "auth = 'off': only `emmetd serve` on loopback answers without keys" in done.stderr
    assert "emmetd keys create" in done.stderr
    assert "Traceback" not in done.stderr
