"""Which tests `--quick` leaves out, and which files of tests take longest and therefore begin first."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

INSTALLATIONS: Final = ("clients", "deployment", "end_to_end", "faults", "hosts")
"""Folders of tests that start emmetd as processes, or what is around it."""

SERVERS: Final = frozenset(
    {
        *("_redis_process", "postgres_databases", "_s3_server", "own_server"),
        *("server", "open_server", "locked_server"),
        *("default_model", "source", "site"),
    }
)
"""Fixtures that start a queue, a database or a store of objects; the whole of emmetd; or that need what is installed or
built apart: the real model, the console's packages, the site of documentation."""

ON_SERVERS: Final = frozenset({"postgresql", "s3"})
"""Parameters with which a fixture asks for one of those servers only when it runs: no list of fixtures shows it."""

STARTING: Final = frozenset(
    {
        "cli/commands/test_api_and_worker.py",
        "cli/commands/test_serve.py",
        "cli/supervision/test_private_redis.py",
        "client/test_wheel.py",
        "configuration/redis/test_tls.py",
        "configuration/test_tracing.py",
        "documentation/test_examples.py",
        "documentation/test_notebooks.py",
        "editing/test_devices.py",
        "plugins/vllm/test_wheel.py",
        "store/upkeep/test_arrival.py",
        "workers/test_devices.py",
    }
)
"""Files whose tests start servers or install packages by themselves, or are there for machines with accelerators."""

LONG: Final = frozenset(
    {
        "benchmarks/checking/test_decisions.py",
        "benchmarks/test_reproduce.py",
        "benchmarks/test_sequential.py",
        "benchmarks/test_thousand_versions.py",
        "benchmarks/test_values.py",
        "editing/metrics/test_said.py",
        "workers/consolidating/test_consolidation.py",
        "workers/exporting/test_formats.py",
        "workers/reverting/test_answers_after_reverts.py",
        "workers/reverting/test_past_statistics.py",
        "workers/reverting/test_revert.py",
        "workers/tasks/test_disk.py",
        "workers/tasks/test_export.py",
        "workers/tasks/test_rebase.py",
        "workers/tasks/test_retained.py",
        "workers/test_random_walks.py",
    }
)
"""Files whose tests go through whole edits and histories of them, at seconds of a core for a test. The parts that these
are made of have tests of their own."""

SLOWEST: Final = (
    "faults",
    "hosts",
    "deployment/test_live_stack.py",
    "deployment/test_live_run.py",
    "end_to_end/test_survival.py",
    "end_to_end/test_odd_facts.py",
    "clients/test_schemathesis.py",
    "documentation",
    "end_to_end",
    "clients",
    "workers/test_random_walks.py",
    "cli/commands/test_serve.py",
    "store/upkeep",
    "service/access",
    "service/test_degradation.py",
    "workers/reverting",
    "workers/tasks",
    "editing/model/test_loading.py",
    "workers",
    "benchmarks",
    "deployment",
    "editing/values",
)
"""Files and folders below tests/, what takes longest first; all others follow. `--durations` shows when this is old."""

REPRESENTATIVES: Final = frozenset({"gpt2", "llama", "gemma2"})
"""Families of models that stand for all of them in `--quick`: one with learned positions and transposed weights, one
with rotary positions, and one with norms behind its MLPs, soft caps, a sliding window and shared heads."""

ALIKE: Final = frozenset({"gptj", "llama-gqa", "mistral", "qwen2", "qwen3", "phi3", "olmo2", "gemma3_text"})
"""The other families, which `--quick` leaves out where a representative runs the same test."""


def place_in_order(path: str) -> int:
    """Of a file below tests/; small is early."""
    for place, name in enumerate(SLOWEST):
        if path == name or path.startswith(f"{name}/"):
            return place
    return len(SLOWEST)


def left_out_of_quick(items: Iterable[pytest.Item], folder: Path) -> list[pytest.Item]:
    """Of the tests below `folder`: those that are slow, and those of a family that another stands for."""
    items = list(items)
    represented = {_function(item) for item in items if REPRESENTATIVES & _names(item)}
    return [
        item
        for item in items
        if is_slow(item, path_below(item, folder)) or (ALIKE & _names(item) and _function(item) in represented)
    ]


def is_never_quick(path: str) -> bool:
    """Whether nothing in the file or folder below tests/ is quick."""
    return path in STARTING | LONG or path.partition("/")[0] in INSTALLATIONS


def is_slow(item: pytest.Item, path: str) -> bool:
    """Whether the test is of such a file, or needs servers, a PostgreSQL cluster or the real model."""
    if is_never_quick(path):
        return True
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(fixtures & SERVERS or ON_SERVERS & _names(item)) or item.get_closest_marker("model") is not None


def path_below(item: pytest.Item, folder: Path) -> str:
    return item.path.relative_to(folder).as_posix() if item.path.is_relative_to(folder) else item.path.as_posix()


def _function(item: pytest.Item) -> tuple[Path, str]:
    """The test without its parameters."""
    return item.path, item.nodeid.partition("[")[0]


def _names(item: pytest.Item) -> set[str]:
    """The words among a test's parameters."""
    parameters: dict[str, Any] = (
        item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    )
    return {value for value in parameters.values() if isinstance(value, str)}
