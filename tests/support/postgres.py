"""A PostgreSQL of the tests' own, where PostgreSQL is installed: a cluster for a session, a database for each test.

Never the machine's own: a new folder, a free port of the loopback, and a password.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psycopg
import pytest

from cli.supervision.tethered import tethered
from store.schema.database import migrate
from tests.support.programs import missing, program

PATIENCE_SECONDS: Final = 60
_USER: Final = "emmetd"


class Cluster:
    """A cluster in a folder of its own. `stop` and `start` do to it what an operator does; `close` removes it.

    `within` is what a command begins with that is to run on the host that has `address`.
    """

    def __init__(self, *, durable: bool = False, address: str = "127.0.0.1", within: Sequence[str] = ()) -> None:
        self.port = _free_port()
        self._password = secrets.token_urlsafe(16)
        self._durable = durable
        self._address = address
        self._within = within
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root, and another user may not enter pytest's own folders.
        self._user = _unprivileged() if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="emmetd-postgres-"))
        try:
            self._make()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://{_USER}:{self._password}@{self._address}:{self.port}/{database}"

    def start(self) -> None:
        given = {
            "listen_addresses": self._address,
            "unix_socket_directories": "",
            "fsync": "on" if self._durable else "off",
            "max_connections": "200",
            "shared_buffers": "16MB",
        }
        options = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
        command = [str(program("postgres")), "-D", str(self.folder / "data"), "-p", str(self.port), *options]
        command = [*self._within, *self._as_user(command)]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: a fast shutdown; SIGQUIT: as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url().replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(statement.encode())

    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _make(self) -> None:
        password = self.folder / "password"
        password.write_text(self._password)
        if self._user:
            shutil.chown(self.folder, self._user)
            shutil.chown(password, self._user)
        command = [str(program("initdb")), "--pgdata", str(self.folder / "data"), "--username", _USER]
        command += ["--pwfile", str(password), "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]
        made = subprocess.run(
            self._as_user([*command, "--no-sync"]), cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        with open(self.folder / "data" / "pg_hba.conf", "a") as rules:
            rules.write("host all all samenet scram-sha-256\n")

    def _as_user(self, command: list[str]) -> list[str]:
        """As the unprivileged user where we are root; either way it ends when this process does."""
        if self._user is None:
            return tethered(command)
        group = subprocess.run(["id", "-gn", self._user], capture_output=True, text=True, check=True).stdout.strip()
        become = ["--reuid", self._user, "--regid", group, "--clear-groups", "--pdeathsig", "INT"]
        return ["setpriv", *become, "--", *command]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _unprivileged() -> str:
    """Whom PostgreSQL's package made for it, or else nobody."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), "daemon")


def require_postgres() -> None:
    """Skip the test where PostgreSQL is not installed; in CI, and where tools are required, fail it."""
    if os.environ.get("CI") and not (shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
        pytest.fail(
            "PostgreSQL is not installed here, and CI is to test on it: apt-get install postgresql", pytrace=False
        )
    program("initdb")
    program("postgres")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        missing("setpriv", "apt-get install util-linux")


class Databases:
    """Databases with all tables and no rows, each made from one template."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._numbers = itertools.count()
        cluster.execute("CREATE DATABASE template_of_tests")
        migrate(cluster.url("template_of_tests"))

    @contextlib.contextmanager
    def new(self, *, empty: bool = False) -> Iterator[str]:
        """URL of a database that is gone afterwards; `empty` is one without tables."""
        name = f"test_{next(self._numbers)}"
        self.cluster.execute(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else 'template_of_tests'}")
        try:
            yield self.cluster.url(name)
        finally:
            self.cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")
