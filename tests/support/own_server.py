"""A queue server that a test may kill."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from cli.supervision.private_redis import prepare_private_redis
from cli.supervision.tethered import tethered


class OwnServer:
    """A real server of the test's own. Killed and started again, it has the same port and the same data."""

    def __init__(self, folder: Path) -> None:
        self._server = prepare_private_redis(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._server.url

    def start(self) -> None:
        command = tethered(self._server.command)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        asyncio.run(self._server.answers())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
