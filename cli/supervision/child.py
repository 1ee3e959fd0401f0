"""One child process: started so that it cannot outlive us, its standard error passed on and its last lines kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cli.supervision.tethered import tethered

_KEPT_BYTES: Final = 8192
_KEPT_LINES: Final = 20
_READ_BYTES: Final = 65536


@dataclass(frozen=True)
class ChildSpec:
    """What to run. `quiet` keeps its output to ourselves; the last lines are shown if it fails."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)  # it carries secrets
    stop_seconds: float = 10.0
    quiet: bool = False
    inherited_fds: tuple[int, ...] = ()


class Child:
    """A running process of a `ChildSpec`."""

    def __init__(self, spec: ChildSpec, process: asyncio.subprocess.Process, relay: _Relay | None) -> None:
        self.spec = spec
        self._process = process
        self._relay = relay

    @classmethod
    async def start(cls, spec: ChildSpec) -> Child:
        """Call it in the main thread: on Linux a child dies with the thread that started it."""
        # A child on a terminal draws its own progress bars there; elsewhere its standard error passes through us.
        relay = None if sys.stderr.isatty() and not spec.quiet else _Relay(quiet=spec.quiet)
        output = None if relay is None else relay.write_end
        try:
            process = await asyncio.create_subprocess_exec(
                *tethered(spec.command),
                env=dict(spec.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output if spec.quiet else None,
                stderr=output,
                pass_fds=spec.inherited_fds,
                # A session of its own: Ctrl-C reaches us alone, and we stop the children in order.
                start_new_session=True,
            )
        finally:
            if relay is not None:
                relay.begin()
        return cls(spec, process, relay)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """The exit code, negative for a signal, once the process and all that it started are gone."""
        exit_code = await self._process.wait()
        self._signal_group(signal.SIGKILL)  # what it may have left behind
        if self._relay is not None:
            await asyncio.to_thread(self._relay.finish)
        return exit_code

    def terminate(self) -> None:
        """Ask it to stop."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it and all that it started, at once."""
        self._signal_group(signal.SIGKILL)

    def last_lines(self) -> str | None:
        """The end of what it wrote to standard error; None if it wrote to the terminal itself."""
        return None if self._relay is None else self._relay.last_lines()

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class _Relay:
    """Copies a pipe to our standard error as it comes and keeps the end of it.

    A thread, because a terminal that is paused must not stop the supervisor.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._read_end, self.write_end = os.pipe()
        self._quiet = quiet
        self._kept = b""
        self._thread = threading.Thread(target=self._copy, name="child-stderr", daemon=True)

    def begin(self) -> None:
        """Call it once the child has its copy of `write_end`, or was not started after all."""
        os.close(self.write_end)
        self._thread.start()

    def _copy(self) -> None:
        with open(self._read_end, "rb", buffering=0) as pipe:
            while chunk := pipe.read(_READ_BYTES):
                self._kept = (self._kept + chunk)[-_KEPT_BYTES:]
                if not self._quiet:
                    with contextlib.suppress(OSError):  # our own standard error may be gone
                        os.write(2, chunk)

    def finish(self) -> None:
        """Wait for the last lines; not for long, since a grandchild may hold the pipe open."""
        self._thread.join(timeout=2.0)

    def last_lines(self) -> str:
        text = self._kept.decode(errors="replace").replace("\r", "\n")
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        return "\n".join(lines[-_KEPT_LINES:])
