"""Run as a script, `tethered.py PARENT COMMAND…`: becomes COMMAND, which the kernel kills when process PARENT ends.

A process of its own between fork and COMMAND, because running Python code after a fork of a process with threads is
unsafe. Imports as little as it can: it stands in the way of every start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def tethered(command: Sequence[str]) -> list[str]:
    """`command` so that it cannot outlive the thread that starts it. Linux only: elsewhere it is returned as it is."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _become(parent: int, command: list[str]) -> None:
    # The setting outlives exec. It holds for the parent's present thread, so starts belong in the main thread.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(f"process {parent} ended while {command[0]} was being started")
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
