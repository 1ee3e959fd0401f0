"""The services of docker-compose.yml as processes of this machine: its commands, its health checks, its files.

Only addresses and folders differ, and one worker that needs no model stands in for those that do.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from cli.supervision.private_redis import find_binary
from cli.supervision.tethered import tethered
from tests.deployment import worker_image
from tests.deployment.compose_file import ROOT, services
from tests.support.programs import program

DOCKER: Final = ROOT / "docker"
STAND_IN: Final = Path(__file__).with_name("stand_in_worker.py")
IMAGE_ENTRYPOINT: Final = DOCKER / "entrypoint.sh"
PATIENCE_SECONDS: Final = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_until(true: Callable[[], object], what: Callable[[], str], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"never happened: {what()}"
        time.sleep(0.1)


@dataclass
class Stack:
    """`folder` stands for the containers' file systems, `ports` for their networks."""

    folder: Path
    ports: dict[str, int] = field(
        default_factory=lambda: {
            name: free_port() for name in ("api", "redis", "postgres", "worker", "blackbox", "prometheus", "grafana")
        }
    )
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    removed: list[Path] = field(default_factory=list)

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['prometheus']}"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['api']}"

    def make_secrets(self) -> None:
        """As the script makes them; then the containers' addresses become this machine's."""
        subprocess.run(
            ["sh", str(DOCKER / "make-secrets.sh"), str(self.secrets)], check=True, stdout=subprocess.DEVNULL
        )
        for name, host, port in (("emmetd_redis_url", "redis", 6379), ("emmetd_database_url", "postgres", 5432)):
            path = self.secrets / name
            path.chmod(0o600)
            path.write_text(path.read_text().replace(f"@{host}:{port}", f"@127.0.0.1:{self.ports[host]}"))

    def translated(self, words: Sequence[str]) -> list[str]:
        """A command of the file with what is in the containers replaced by what stands for it here."""
        replaced = {
            "/usr/local/lib/emmetd/": f"{DOCKER}/",
            "/etc/valkey/": f"{DOCKER}/redis/",
            "/etc/blackbox/": f"{DOCKER}/prometheus/",
            "/etc/prometheus/prometheus.yml": str(self.folder / "prometheus.yml"),
            "=/prometheus": f"={self.folder}/prometheus",
            ":8000/": f":{self.ports['api']}/",
            ":9100/": f":{self.ports['worker']}/",
            ":9115/": f":{self.ports['blackbox']}/",
            ":9090/": f":{self.ports['prometheus']}/",
            ":3000/": f":{self.ports['grafana']}/",
        }
        found = []
        for word in words:
            for inside, outside in replaced.items():
                word = word.replace(inside, outside)
            found.append({"8000": str(self.ports["api"]), "python": sys.executable}.get(word, word))
        if found[0] == "emmetd":
            found[:1] = [sys.executable, "-m", "cli.main"]
        return found

    def environment(self, name: str) -> dict[str, str]:
        """What the service's processes see: nothing of ours but what the file and the image say."""
        (self.folder / "bin").mkdir(exist_ok=True)
        (self.folder / "backups").mkdir(exist_ok=True)
        emmetd = self.folder / "bin" / "emmetd"
        emmetd.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli.main "$@"\n')
        emmetd.chmod(0o755)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("EMMETD_")}
        return {
            **inherited,
            **{key: str(value) for key, value in services()[name].get("environment", {}).items()},
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "EMMETD_SECRETS": str(self.secrets_of(name)),
            "EMMETD_DATA": str(self.folder / "data"),
            "EMMETD_BLOB_URL": str(self.folder / "blobs"),
            "BACKUPS": str(self.folder / "backups"),
            "HOUSEKEEPING_STATE": str(self.folder / "housekeeping"),
            "REDIS_PASSWORD_FILE": str(self.secrets / "redis_password"),
            "REDIS_PORT": str(self.ports["redis"]),
            "VALKEY_CONF": str(self.folder / "valkey.conf"),
        }

    def secrets_of(self, name: str) -> Path:
        """A folder with the secrets that the file gives to the service, and no others."""
        folder = self.folder / "secrets-of" / name
        folder.mkdir(parents=True, exist_ok=True)
        for secret in services()[name].get("secrets", ()):
            shutil.copyfile(self.secrets / secret, folder / secret)
        return folder

    def run(self, name: str, command: Sequence[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the service's command to its end."""
        words = self.translated(command or services()[name]["command"])
        return subprocess.run(
            [str(IMAGE_ENTRYPOINT), *words],
            env=self.environment(name),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str], user: str | None = None) -> None:
        # Another user may not run our Python, which is what ties a process to this one.
        words = command if user else tethered(command)
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes[name] = subprocess.Popen(
                words, env=dict(environment), cwd=self.folder, stdout=log, stderr=log, user=user
            )

    def is_healthy(self, name: str) -> bool:
        """Run the service's health check as the file has it."""
        words = self.translated(services()[name]["healthcheck"]["test"][1:])
        if words[0] == "pg_isready":
            words = [str(program("pg_isready")), *words[1:], "--port", str(self.ports["postgres"])]
        done = subprocess.run(words, env=self.environment(name), capture_output=True, cwd=self.folder, check=False)
        return done.returncode == 0

    def wait_until_healthy(self, name: str) -> None:
        def ended_or_healthy() -> bool:
            return self.processes[name].poll() is not None or self.is_healthy(name)

        wait_until(ended_or_healthy, lambda: f"{name} healthy; it said: {self.log(name)}")
        assert self.processes[name].poll() is None, f"{name} ended: {self.log(name)}"

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for folder in self.removed:
            shutil.rmtree(folder)

    # One method a service, in the order in which they start.

    def start_redis(self) -> None:
        binary = find_binary().path
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "valkey-server").symlink_to(binary)
        (folder / "valkey-cli").symlink_to(program("redis-cli"))
        (self.folder / "redis").mkdir()
        text = (DOCKER / "redis" / "valkey.conf").read_text()
        text = re.sub(r"^bind .*$", "bind 127.0.0.1", text, flags=re.MULTILINE)
        text = re.sub(r"^port .*$", f"port {self.ports['redis']}", text, flags=re.MULTILINE)
        (self.folder / "valkey.conf").write_text(text.replace("dir /data", f"dir {self.folder / 'redis'}"))
        self.start("redis", self.translated(services()["redis"]["command"]), self.environment("redis"))

    def start_postgres(self) -> None:
        """PostgreSQL refuses to run as root, in the container as here; so its folder is not among pytest's own."""
        service = services()["postgres"]["environment"]
        user = "postgres" if os.geteuid() == 0 else None
        folder = Path(tempfile.mkdtemp(prefix="emmetd-postgres-"))
        self.removed.append(folder)
        password = folder / "password"
        shutil.copyfile(self.secrets / "postgres_password", password)
        if user:
            shutil.chown(folder, user)
            shutil.chown(password, user)
        folder = folder / "data"
        subprocess.run(
            [
                program("initdb"),
                *("--pgdata", folder, "--username", service["POSTGRES_USER"], "--pwfile", password, "--no-sync"),
                *service["POSTGRES_INITDB_ARGS"].split(),
            ],
            check=True,
            capture_output=True,
            user=user,
            cwd=folder.parent,
        )
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(program("postgres")), "-D", str(folder), "-p", str(self.ports["postgres"]), *given]
        self.start("postgres", command, self.environment("postgres"), user)

    def start_api(self) -> None:
        command = self.translated(services()["api"]["command"])
        command[command.index("0.0.0.0")] = "127.0.0.1"
        self.start("api", [str(IMAGE_ENTRYPOINT), *command], self.environment("api"))

    def start_worker(self) -> None:
        environment = self.environment("worker-cpu") | {"EMMETD_WORKER_METRICS_PORT": str(self.ports["worker"])}
        self.start("worker-cpu", [str(IMAGE_ENTRYPOINT), sys.executable, str(STAND_IN)], environment)

    def start_real_worker(self, name: str, model: Path, **changed: str) -> None:
        """The command of the service's image, with the image's and the file's variables but for what lies elsewhere."""
        environment = worker_image.environment(services()[name]["build"]["target"]) | self.environment(name)
        environment |= {"EMMETD_MODEL": str(model), "EMMETD_WORKER_METRICS_PORT": str(self.ports["worker"]), **changed}
        command = self.translated(services()[name].get("command", worker_image.command()))
        self.start(name, [str(IMAGE_ENTRYPOINT), *command], environment)

    def start_blackbox(self) -> None:
        command = [str(program("prometheus-blackbox-exporter")), *self.translated(services()["blackbox"]["command"])]
        command.append(f"--web.listen-address=127.0.0.1:{self.ports['blackbox']}")
        self.start("blackbox", command, self.environment("blackbox"))

    def start_prometheus(self) -> None:
        """With the shipped configuration, but a scrape a second and the addresses of this machine."""
        document: dict[str, Any] = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
        document["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        document["rule_files"] = [str(DOCKER / "prometheus" / path) for path in document["rule_files"]]
        for job in document["scrape_configs"]:
            for found in job.pop("dns_sd_configs", ()):
                job["static_configs"] = [{"targets": [f"127.0.0.1:{self.ports[name]}" for name in found["names"]]}]
        text = yaml.safe_dump(document)
        for name, port in (("api", 8000), ("blackbox", 9115), ("127.0.0.1", 9090)):
            here = self.ports["prometheus" if name == "127.0.0.1" else name]
            text = text.replace(f"{name}:{port}", f"127.0.0.1:{here}")
        (self.folder / "prometheus.yml").write_text(text)
        command = [str(program("prometheus")), *self.translated(services()["prometheus"]["command"])]
        command.append(f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}")
        self.start("prometheus", command, self.environment("prometheus"))


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """All services, started in the order of the file's dependencies and healthy."""
    for name in ("redis-cli", "initdb", "postgres", "pg_isready", "prometheus", "prometheus-blackbox-exporter", "wget"):
        program(name)
    stack = Stack(folder)
    stack.make_secrets()
    try:
        stack.start_redis()
        stack.start_postgres()
        stack.start_blackbox()
        stack.wait_until_healthy("postgres")
        create = f"CREATE DATABASE {services()['postgres']['environment']['POSTGRES_DB']}"
        stack.run("migrate", ["python", "-c", CREATE_DATABASE, create])
        migrated = stack.run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        stack.wait_until_healthy("redis")
        stack.start_worker()
        stack.start_api()
        stack.start_prometheus()
        for name in ("blackbox", "worker-cpu", "api", "prometheus"):
            stack.wait_until_healthy(name)
        yield stack
    finally:
        stack.stop()


CREATE_DATABASE: Final = """
import os, sys, psycopg
server = os.environ["EMMETD_DATABASE_URL"].rpartition("/")[0] + "/postgres"
with psycopg.connect(server, autocommit=True) as connection:
    connection.execute(sys.argv[1])
"""
