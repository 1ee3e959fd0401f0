"""The kernel's limits on a container: files of the process's control group and of those above it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

_MEMBERSHIP: Final = "proc/self/cgroup"
_MOUNT: Final = "sys/fs/cgroup"


@dataclass(frozen=True)
class ControlGroup:
    """`version` 2, where one hierarchy has all controllers, or 1, where each has its own."""

    version: int
    folder: Path

    def words(self, file: str) -> list[str]:
        """What a file of the group says; nothing where it has none."""
        try:
            return (self.folder / file).read_text().split()
        except OSError:
            return []


def control_groups(controller: str, root: Path = Path("/")) -> Iterator[ControlGroup]:
    """The process's groups for `controller` ("cpu", "memory"), its own first: the limits of each of them hold.

    Files of the kernel are read below `root`.
    """
    try:
        lines = (root / _MEMBERSHIP).read_text().splitlines()
    except OSError:
        return  # not Linux, or hidden from us
    for line in lines:
        _, controllers, path = line.split(":", 2)
        version = 1 if controllers else 2
        if version == 1 and controller not in controllers.split(","):
            continue
        mount = root / _MOUNT
        # Version 1 mounts each hierarchy by its name, and often `cpu` as another name of `cpu,cpuacct`.
        mounts = [mount] if version == 2 else [mount / name for name in dict.fromkeys((controllers, controller))]
        for at in mounts:
            # In a container the mount itself may be the group: it comes last.
            for part in (PurePosixPath(path), *PurePosixPath(path).parents):
                yield ControlGroup(version, at / part.relative_to("/"))
