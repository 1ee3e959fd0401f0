"""`emmetd serve` as a person meets it: real processes, a real queue server, stand-ins only for API and worker."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

STAND_IN = Path(__file__).with_name("stand_in.py")
PATIENCE_SECONDS = 60


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped by somebody else does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Serve:
    """A running supervisor and what it printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, str(STAND_IN), "serve", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("EMMETD_")},
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=lambda: self.out.extend(self.process.stdout), daemon=True),  # type: ignore[arg-type]
            threading.Thread(target=lambda: self.err.extend(self.process.stderr), daemon=True),  # type: ignore[arg-type]
        ]
        for reader in self._readers:
            reader.start()

    def says(self, words: str, after: str = "") -> None:
        """Wait for `words` on standard output, behind the words `after`."""

        def said() -> bool:
            return words in "".join(self.out).partition(after)[2] if after else words in "".join(self.out)

        wait_until(lambda: said() or self.process.poll() is not None, f"{words!r} on standard output")
        assert said(), f"ended without saying {words!r}: {self.out} {self.err}"

    def ready(self) -> str:
        self.says("Ctrl-C stops everything")
        found = re.search(r"ready at (\S+)", "".join(self.out))
        assert found
        return found[1]

    def pids(self, name: str) -> list[int]:
        file = self.folder / "pids" / name
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def redis_pids(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and alive(int(entry.name)):
                try:
                    command = (entry / "cmdline").read_bytes().decode()
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if parent == self.process.pid and re.search(r"(valkey|redis)-server", command):
                    found.append(int(entry.name))
        return found

    def all_pids(self) -> list[int]:
        return [self.process.pid, *self.pids("api"), *self.pids("worker"), *self.redis_pids()]

    def ended(self) -> tuple[int, str]:
        """Exit code and standard error, once it has ended."""
        exit_code = self.process.wait(PATIENCE_SECONDS)
        for reader in self._readers:
            reader.join(PATIENCE_SECONDS)
        return exit_code, "".join(self.err)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()


Start = Callable[..., Serve]


@pytest.fixture(autouse=True)
def hangup_as_usual() -> Iterator[None]:
    """What is started under nohup is to ignore SIGHUP, and does; a test run under it must not hand that on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def start_serve(**orders: str) -> Serve:
        folder = tmp_path / "data"
        (folder / "orders").mkdir(parents=True, exist_ok=True)
        for name, order in orders.items():
            (folder / "orders" / name).write_text(order)
        started.append(Serve(folder))
        return started[-1]

    yield start_serve
    for serve in started:
        serve.close()


def orders(serve: Serve, name: str, order: str) -> None:
    (serve.folder / "orders" / name).write_text(order)


def test_it_starts_everything_and_says_where(start: Start) -> None:
    serve = start()
    url = serve.ready()
    assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    said = "".join(serve.out)
    assert str(serve.folder) in said
    curls = [shlex.split(line) for line in said.splitlines() if line.strip().startswith("curl")]
    assert [next(word for word in words if word.startswith("http")) for words in curls] == [
        f"{url}/v1/edits",
        f"{url}/v1/completions",
    ]


@pytest.mark.parametrize(
    ("settings", "auth"), [("", "off"), ('auth = "on"', "on"), ('auth = "off"', "off"), ('api_key = "k"', "on")]
)
def test_it_settles_whether_requests_need_a_key(start: Start, tmp_path: Path, settings: str, auth: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "emmetd.toml").write_text(settings)
    serve = start()
    serve.ready()
    assert (serve.folder / "auth").read_text() == auth
    assert ("Authorization: Bearer" in "".join(serve.out)) == (auth == "on")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_signal_stops_everything_in_order(start: Start, number: signal.Signals) -> None:
    serve = start()
    serve.ready()
    pids = serve.all_pids()
    assert len(pids) == 4
    serve.process.send_signal(number)
    exit_code, _ = serve.ended()
    assert exit_code == 0
    assert serve.out[-1] == "stopped\n"
    assert [pid for pid in pids if alive(pid)] == []


def test_ctrl_c_on_a_terminal_stops_everything_in_order(tmp_path: Path) -> None:
    on_a_terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))"
    data = tmp_path / "data"
    data.mkdir()
    command = [sys.executable, "-c", on_a_terminal, sys.executable, str(STAND_IN), "serve", str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as terminal:
        assert terminal.stdin
        assert terminal.stdout
        said = b""
        while b"Ctrl-C stops everything" not in said:
            said += (chunk := os.read(terminal.stdout.fileno(), 65536))
            assert chunk, said
        pids = [int((data / "pids" / name).read_text()) for name in ("api", "worker")]
        terminal.stdin.write(b"\x03")
        terminal.stdin.flush()
        while chunk := os.read(terminal.stdout.fileno(), 65536):
            said += chunk
        assert terminal.wait(PATIENCE_SECONDS) == 0
    assert said.endswith(b"stopping (SIGINT); once more stops at once\r\nstopped\r\n")
    assert [pid for pid in pids if alive(pid)] == []


def test_it_stops_while_it_is_still_starting(start: Start) -> None:
    serve = start(worker="exit 1 not yet")
    serve.says("worker died")
    serve.process.send_signal(signal.SIGTERM)
    assert serve.ended()[0] == 0
    assert [pid for pid in serve.all_pids() if alive(pid)] == []


def test_a_second_signal_does_not_wait_for_a_stubborn_child(start: Start) -> None:
    serve = start(worker="stubborn")
    serve.ready()
    pids = serve.all_pids()
    serve.process.send_signal(signal.SIGINT)
    serve.says("once more stops at once")
    serve.process.send_signal(signal.SIGINT)
    serve.says("stopping at once")
    assert serve.ended()[0] == 0
    assert [pid for pid in pids if alive(pid)] == []


def test_nothing_outlives_a_killed_supervisor(start: Start) -> None:
    serve = start(worker="stubborn")
    serve.ready()
    pids = serve.all_pids()
    serve.process.kill()
    wait_until(lambda: not [pid for pid in pids if alive(pid)], "every child gone")


def test_the_next_start_finds_what_was_queued_before_a_kill(start: Start) -> None:
    serve = start()
    serve.ready()
    serve.process.kill()
    serve.process.wait()
    again = start()
    again.ready()

    def starts_written() -> int:
        files = (again.folder / "redis" / "appendonlydir").glob("*.aof")
        return sum(path.read_bytes().count(b"worker starts") for path in files)

    # The stand-in's sign of life outlives a kill by a second, so that `ready` may still speak of the first worker.
    wait_until(lambda: starts_written() == 2, "the second start beside the first")


@pytest.mark.parametrize("name", ["worker", "api"])
def test_a_killed_child_is_started_again(start: Start, name: str) -> None:
    serve = start()
    url = serve.ready()
    os.kill(serve.pids(name)[-1], signal.SIGKILL)
    serve.says("died (killed by SIGKILL); starting it again")
    wait_until(lambda: len(serve.pids(name)) == 2, "a second start")
    wait_until(lambda: httpx.get(f"{url}/readyz", trust_env=False).status_code == 200, "ready")
    assert alive(serve.pids(name)[-1])


def test_a_connection_made_while_the_api_restarts_is_answered_and_not_refused(start: Start) -> None:
    serve = start()
    url = serve.ready()
    os.kill(serve.pids("api")[-1], signal.SIGKILL)
    serve.says("API died")
    assert httpx.get(f"{url}/readyz", trust_env=False, timeout=PATIENCE_SECONDS).status_code in (200, 503)


def test_a_killed_queue_server_comes_back_where_it_was(start: Start) -> None:
    serve = start()
    url = serve.ready()
    (pid,) = serve.redis_pids()
    conf = (serve.folder / "redis" / "redis.conf").read_text()
    os.kill(pid, signal.SIGKILL)
    serve.says("queue server died (killed by SIGKILL)")
    wait_until(lambda: [new for new in serve.redis_pids() if new != pid], "a new queue server")
    wait_until(lambda: httpx.get(f"{url}/readyz", trust_env=False).status_code == 200, "ready")
    assert (serve.folder / "redis" / "redis.conf").read_text() == conf


def test_a_configuration_error_is_not_tried_again(start: Start) -> None:
    serve = start(worker="exit 78 model = 'x': there is no such model")
    exit_code, said = serve.ended()
    assert exit_code == 1
    assert "worker cannot run as configured" in said
    assert said.endswith("model = 'x': there is no such model\n")
    assert len(serve.pids("worker")) == 1
    assert [pid for pid in serve.all_pids() if alive(pid)] == []


def test_a_child_that_keeps_dying_ends_everything_with_its_last_words(start: Start) -> None:
    serve = start(worker="exit 3 the ground is missing", serve="hasty")
    exit_code, said = serve.ended()
    assert exit_code == 1
    assert "worker died 5 times within 60 seconds (exit code 3); it last said:\nthe ground is missing" in said
    assert len(serve.pids("worker")) == 5
    assert [pid for pid in serve.all_pids() if alive(pid)] == []


def test_a_failed_migration_ends_everything_before_it_began(start: Start) -> None:
    serve = start(migrate="exit 1 the disk is full")
    exit_code, said = serve.ended()
    assert exit_code == 1
    assert "migrate failed (exit code 1); it last said:\nthe disk is full" in said
    assert serve.pids("worker") == []


def test_while_the_database_is_away_the_api_says_so_and_all_goes_on_by_itself(start: Start) -> None:
    serve = start(migrate="slow", serve="hasty")
    serve.says("starting the API at")
    wait_until(lambda: serve.pids("api"), "the API has started")
    assert serve.pids("worker") == []
    orders(serve, "migrate", "nothing")
    serve.ready()
    assert "".join(serve.out).count("starting the API") == 1


def test_a_wait_for_the_database_can_be_broken_off(start: Start) -> None:
    serve = start(migrate="slow")
    wait_until(lambda: serve.pids("migrate"), "the migration has begun")
    (waiting,) = serve.pids("migrate")
    serve.process.send_signal(signal.SIGTERM)
    assert serve.ended()[0] == 0
    assert not alive(waiting)


def test_why_it_is_not_ready_is_told_once(start: Start) -> None:
    serve = start(worker="exit 1 not yet")
    serve.says("waiting: no worker yet")
    orders(serve, "worker", "")
    serve.ready()
    assert "".join(serve.out).count("waiting:") == 1


def test_when_it_is_no_longer_ready_that_is_told_and_when_it_is_again(start: Start) -> None:
    serve = start()
    serve.ready()
    orders(serve, "worker", "exit 1 not now")
    os.kill(serve.pids("worker")[-1], signal.SIGKILL)
    serve.says("waiting: no worker yet", after="worker died")
    orders(serve, "worker", "")
    serve.says("ready again")


def test_a_data_folder_serves_one_at_a_time(start: Start) -> None:
    first = start()
    first.ready()
    exit_code, said = start().ended()
    assert exit_code == 1
    assert f"in use by another emmetd serve (pid {first.process.pid})" in said
    assert "--data" in said
    assert first.process.poll() is None


def test_no_secret_stands_in_a_command_line(start: Start) -> None:
    serve = start()
    serve.ready()
    (redis_pid,) = serve.redis_pids()
    conf = serve.folder / "redis" / "redis.conf"
    password = re.search(r"requirepass (\S+)", conf.read_text())
    assert password
    assert conf.stat().st_mode & 0o077 == 0
    for pid in (redis_pid, *serve.pids("api"), *serve.pids("worker")):
        assert password[1] not in Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    assert password[1] not in "".join(serve.out + serve.err)
