"""Files and folders that are either whole or not there, whatever happens while they are written."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write to; when the block ends well it becomes `target`, durably. Otherwise nothing is left."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        _sync(part)
        part.replace(target)
        _sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` to work in, gone when the block ends. What a kill leaves of it, `sweep` removes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def publish_folder(part: Path, target: Path) -> None:
    """Make the filled folder `part` durable and rename it to `target`, which is on the same file system."""
    for folder, _, files in os.walk(part):
        for name in files:
            _sync(Path(folder) / name)
        _sync(Path(folder))
    part.chmod(0o755)
    part.rename(target)
    _sync(target.parent)


def sweep(target: Path) -> None:
    """Remove what killed writers of `target` left. Only for a caller that holds `exclusive(target)`."""
    for part in target.parent.glob(f".{target.name}.*.part"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


@contextmanager
def exclusive(target: Path) -> Iterator[None]:
    """Only one process at a time prepares `target`; others wait here. The lock goes with its process."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
