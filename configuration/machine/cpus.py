"""How many CPUs this process may keep busy: fewer than the machine has where affinity or a container's quota say so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from configuration.machine.control_groups import ControlGroup, control_groups


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
    """In CPUs."""
    for group in control_groups("cpu", root):
        quota = _quota_v2(group) if group.version == 2 else _quota_v1(group)
        if quota is not None:
            yield quota


def _quota_v2(group: ControlGroup) -> float | None:
    """`cpu.max` has microseconds of a period and the period, or `max`."""
    words = group.words("cpu.max")
    return None if len(words) != 2 or words[0] == "max" else int(words[0]) / int(words[1])


def _quota_v1(group: ControlGroup) -> float | None:
    """A quota of -1 is none."""
    quota, period = group.words("cpu.cfs_quota_us"), group.words("cpu.cfs_period_us")
    return int(quota[0]) / int(period[0]) if quota and period and int(quota[0]) > 0 else None
