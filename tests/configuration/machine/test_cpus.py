"""Threads are as many as the process may keep busy, whatever the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from configuration.machine import cpus
from configuration.machine.cpus import usable_cpus
from configuration.settings import Settings


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "_allowed", lambda: 8)


def kernel(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


GROUP = "0::/kubepods/pod1/worker"
V1 = "12:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n1:name=systemd:/docker/a"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/"}, 8),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 8),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "250000 100000"}, 2),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "6400000 100000"}, 8),
        # The group's own, one above it, and a group that this process cannot see under its name.
        ({"proc/self/cgroup": GROUP, "sys/fs/cgroup/kubepods/pod1/worker/cpu.max": "300000 100000"}, 3),
        (
            {
                "proc/self/cgroup": GROUP,
                "sys/fs/cgroup/kubepods/pod1/worker/cpu.max": "max 100000",
                "sys/fs/cgroup/kubepods/pod1/cpu.max": "400000 100000",
                "sys/fs/cgroup/kubepods/cpu.max": "600000 100000",
            },
            4,
        ),
        ({"proc/self/cgroup": GROUP, "sys/fs/cgroup/cpu.max": "500000 100000"}, 5),
        # Version 1.
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_quota_us": "300000",
                "sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_period_us": "100000",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            8,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/memory/docker/a/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/memory/docker/a/cpu.cfs_period_us": "100000",
            },
            8,
        ),
    ],
)
def test_the_smallest_quota_holds(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert usable_cpus(kernel(tmp_path, files)) == expected


def test_affinity_holds_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    assert usable_cpus(tmp_path) == len(os.sched_getaffinity(0))
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        assert usable_cpus(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, mine)


def test_a_workers_threads_are_by_default_what_it_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("configuration.settings.usable_cpus", lambda: 3)
    assert Settings(data=tmp_path).cpu_threads == 3
    assert Settings(data=tmp_path, threads=5).cpu_threads == 5
