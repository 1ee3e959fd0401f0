"""How much memory this process has taken and may still take: less than the machine has where a container's limit says
so."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from configuration.machine.control_groups import ControlGroup, control_groups

_USED = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}
_CACHED = {1: "total_inactive_file", 2: "inactive_file"}


def available_memory(root: Path = Path("/")) -> int:
    """Bytes. Files of the kernel are read below `root`; without them, half of the machine's memory."""
    return max(0, min([_of_the_machine(root), *_of_groups(root)]))


def resident_bytes(root: Path = Path("/")) -> int:
    """What of this process is in memory; 0 where the kernel does not say."""
    try:
        return int((root / "proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _of_the_machine(root: Path) -> int:
    try:
        words = (root / "proc/meminfo").read_text().split()
    except OSError:
        words = []
    available = _number_after(words, "MemAvailable:")
    if available is not None:
        return available * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _of_groups(root: Path) -> Iterator[int]:
    for group in control_groups("memory", root):
        limit, used = (_number(group, name) for name in _USED[group.version])
        if limit is not None and used is not None:
            # Files that were read and may be forgotten are counted as used.
            yield limit - used + (_number_after(group.words("memory.stat"), _CACHED[group.version]) or 0)


def _number(group: ControlGroup, file: str) -> int | None:
    """Nothing where there is no such file, or no limit."""
    words = group.words(file)
    return int(words[0]) if words and words[0].isdigit() else None


def _number_after(words: Sequence[str], name: str) -> int | None:
    return int(words[words.index(name) + 1]) if name in words else None
