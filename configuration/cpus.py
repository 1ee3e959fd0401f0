"""How many CPUs this process may keep busy: fewer than the machine has where affinity or a container's quota say so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_MEMBERSHIP: Final = "proc/self/cgroup"
_MOUNT: Final = "sys/fs/cgroup"


def usable_cpus(root: Path = Path("/")) -> int:
    """Whole CPUs, at least 1. Files of the kernel are read below `root`.

    A quota of 2.5 CPUs counts as 2: a third thread would be stopped for a part of each period, and the others wait.
    """
    return max(1, min([_allowed(), *(int(quota) for quota in _quotas(root))]))


def _allowed() -> int:
    """CPUs that the process may run on."""
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """In CPUs, those of the process's control group and of all above it: each of them holds."""
    try:
        lines = (root / _MEMBERSHIP).read_text().splitlines()
    except OSError:
        return  # not Linux, or hidden from us
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for folder in _folders(root / _MOUNT, controllers, PurePosixPath(path)):
            quota = _quota_v2(folder) if controllers == "" else _quota_v1(folder)
            if quota is not None:
                yield quota


def _folders(mount: Path, controllers: str, path: PurePosixPath) -> Iterator[Path]:
    """Where the group and those above it are seen. In a container the mount itself may be the group: it comes last."""
    if controllers and "cpu" not in controllers.split(","):
        return
    # Version 1 mounts each hierarchy by its name, and often `cpu` as another name of `cpu,cpuacct`.
    mounts = [mount] if not controllers else [mount / name for name in dict.fromkeys((controllers, "cpu"))]
    for at in mounts:
        for part in (path, *path.parents):
            yield at / part.relative_to("/")


def _quota_v2(folder: Path) -> float | None:
    """`cpu.max` has microseconds of a period and the period, or `max`."""
    words = _words(folder / "cpu.max")
    return None if len(words) != 2 or words[0] == "max" else int(words[0]) / int(words[1])


def _quota_v1(folder: Path) -> float | None:
    """A quota of -1 is none."""
    quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
    return int(quota[0]) / int(period[0]) if quota and period and int(quota[0]) > 0 else None


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
