"""What a process may still take is what the machine has, or what the container's limits leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from configuration.machine.memory import available_memory
from tests.configuration.machine.test_cpus import GROUP, kernel

MIB = 1024**2
MACHINE = {"proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB"}
V1 = "12:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n1:name=systemd:/docker/a"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8192),
        ({"proc/self/cgroup": "0::/"}, 8192),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/memory.current": "5"}, 8192),
        (
            {
                "proc/self/cgroup": "0::/",
                "sys/fs/cgroup/memory.max": str(6000 * MIB),
                "sys/fs/cgroup/memory.current": str(5000 * MIB),
            },
            1000,
        ),
        (
            {
                "proc/self/cgroup": "0::/",
                "sys/fs/cgroup/memory.max": str(6000 * MIB),
                "sys/fs/cgroup/memory.current": str(5000 * MIB),
                "sys/fs/cgroup/memory.stat": f"anon 7\ninactive_file {700 * MIB}\nactive_file 9",
            },
            1700,
        ),
        (
            {
                "proc/self/cgroup": GROUP,
                "sys/fs/cgroup/kubepods/pod1/worker/memory.max": str(6000 * MIB),
                "sys/fs/cgroup/kubepods/pod1/worker/memory.current": str(1000 * MIB),
                "sys/fs/cgroup/kubepods/memory.max": str(9000 * MIB),
                "sys/fs/cgroup/kubepods/memory.current": str(8800 * MIB),
            },
            200,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes": str(3000 * MIB),
                "sys/fs/cgroup/memory/docker/a/memory.usage_in_bytes": str(1000 * MIB),
                "sys/fs/cgroup/memory/docker/a/memory.stat": f"total_inactive_file {50 * MIB}",
                "sys/fs/cgroup/cpu/docker/a/memory.limit_in_bytes": "1",
                "sys/fs/cgroup/cpu/docker/a/memory.usage_in_bytes": "0",
            },
            2050,
        ),
        (
            {
                "proc/self/cgroup": "0::/",
                "sys/fs/cgroup/memory.max": "1",
                "sys/fs/cgroup/memory.current": "2",
            },
            0,
        ),
    ],
)
def test_the_least_that_is_left_holds(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert available_memory(kernel(tmp_path, MACHINE | files)) == expected * MIB


def test_a_machine_that_does_not_tell_is_believed_half_free(tmp_path: Path) -> None:
    assert available_memory(tmp_path) > 0
