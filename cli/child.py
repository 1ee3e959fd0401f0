"""One child process: started so that it cannot outlive us, its standard error passed on and its last lines kept."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_KEPT_BYTES: Final = 8192
_KEPT_LINES: Final = 20
_READ_BYTES: Final = 65536
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


@dataclass(frozen=True)
class ChildSpec:
    """What to run. `quiet` keeps its output off the terminal; its last lines are kept all the same."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)  # it carries secrets
    stop_seconds: float = 10.0
    quiet: bool = False
    inherited_fds: tuple[int, ...] = ()


class Child:
    """A running process of a `ChildSpec`."""

    def __init__(self, spec: ChildSpec, process: asyncio.subprocess.Process, relay: _Relay) -> None:
        self.spec = spec
        self._process = process
        self._relay = relay

    @classmethod
    async def start(cls, spec: ChildSpec) -> Child:
        """Call it in the main thread: on Linux a child dies with the thread that started it."""
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.command,
                env=dict(spec.environment),
                stdin=asyncio.subprocess.DEVNULL,
                # A worker draws its progress bars on our own standard output, so that it knows a terminal for one.
                stdout=write_end if spec.quiet else None,
                stderr=write_end,
                pass_fds=spec.inherited_fds,
                # A session of its own: Ctrl-C reaches us alone, and we stop the children in order.
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        return cls(spec, process, _Relay(read_end, quiet=spec.quiet))

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """The exit code, negative for a signal, once the process and all that it started are gone."""
        exit_code = await self._process.wait()
        self._signal_group(signal.SIGKILL)  # what it may have left behind
        await asyncio.to_thread(self._relay.finish)
        return exit_code

    def terminate(self) -> None:
        """Ask it to stop."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it and all that it started, at once."""
        self._signal_group(signal.SIGKILL)

    def last_lines(self) -> str:
        """The end of what it wrote to standard error."""
        return self._relay.last_lines()

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class _Relay:
    """Copies a pipe to our standard error as it comes (progress bars redraw lines) and keeps its end.

    A thread, because a terminal that is paused must not stop the supervisor.
    """

    def __init__(self, read_end: int, *, quiet: bool) -> None:
        self._read_end = read_end
        self._quiet = quiet
        self._kept = b""
        self._thread = threading.Thread(target=self._copy, name="child-stderr", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        with open(self._read_end, "rb", buffering=0) as pipe:
            while chunk := pipe.read(_READ_BYTES):
                self._kept = (self._kept + chunk)[-_KEPT_BYTES:]
                if not self._quiet:
                    with contextlib.suppress(OSError):  # our own standard error may be gone
                        os.write(2, chunk)

    def finish(self) -> None:
        self._thread.join(timeout=2.0)

    def last_lines(self) -> str:
        text = self._kept.decode(errors="replace").replace("\r", "\n")
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        return "\n".join(lines[-_KEPT_LINES:])


def _die_with_parent() -> Callable[[], None] | None:
    """What a child runs before its program: the kernel shall kill it when we are killed. Linux only."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: little is safe after it
    parent = os.getpid()
    number = int(signal.SIGKILL)

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # we were killed in between
            os._exit(1)

    return arrange
