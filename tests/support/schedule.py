"""Which tests need a whole installation, and which files of tests take longest and therefore begin first."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

INSTALLATIONS: Final = ("clients", "deployment", "end_to_end", "faults", "hosts")
"""Folders of tests that start emmetd as processes, or what is around it."""

SERVERS: Final = frozenset({"_redis_process", "postgres_databases", "_s3_server", "default_model"})
"""Fixtures that start a server, or fetch the real model."""

STARTING: Final = frozenset(
    {
        "cli/commands/test_api_and_worker.py",
        "cli/commands/test_serve.py",
        "cli/supervision/test_private_redis.py",
        "configuration/redis/test_tls.py",
        "configuration/test_tracing.py",
        "documentation/test_examples.py",
        "documentation/test_notebooks.py",
        "store/upkeep/test_arrival.py",
    }
)
"""Files whose tests start servers by themselves."""

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


def place_in_order(path: str) -> int:
    """Of a file below tests/; small is early."""
    for place, name in enumerate(SLOWEST):
        if path == name or path.startswith(f"{name}/"):
            return place
    return len(SLOWEST)


def needs_installation(item: pytest.Item, path: str) -> bool:
    """Whether the test needs servers, a PostgreSQL cluster or the real model."""
    if path in STARTING or path.partition("/")[0] in INSTALLATIONS:
        return True
    fixtures = set(getattr(item, "fixturenames", ()))
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    on_postgres = parameters.get("database_url") == "postgresql"
    return bool(fixtures & SERVERS) or on_postgres or item.get_closest_marker("model") is not None


def path_below(item: pytest.Item, folder: Path) -> str:
    return item.path.relative_to(folder).as_posix() if item.path.is_relative_to(folder) else item.path.as_posix()
