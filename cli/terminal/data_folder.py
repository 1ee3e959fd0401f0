"""The data folder of `emmetd serve`: made if it is missing, and held by one server at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cli.terminal.errors import DataFolderError

LOCK_NAME: Final = "emmetd.lock"


@contextmanager
def held_data_folder(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. The kernel lets go of it however the process ends.

    Raises `DataFolderError` where it cannot be written, or another process (whose id it names) holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DataFolderError(
            f"data folder {folder} cannot be written ({error.strerror}); choose another with --data or EMMETD_DATA"
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise DataFolderError(
                f"data folder {folder} is in use by another emmetd serve (pid {holder}); "
                "stop that one, or choose another folder with --data"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(lock, 0)
    finally:
        os.close(lock)
