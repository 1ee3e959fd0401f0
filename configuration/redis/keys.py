"""Every name that emmetd uses in Redis, in one place. Ids travel there, never data."""

from __future__ import annotations

from typing import Final

RELAY_WAKE: Final = "emmetd:relay:wake"
"""List of at most one entry, which wakes one of the relays: a worker has left something for them in SQL."""

CHANGED_BATCHES: Final = "emmetd:batches:changed"
"""Channel on which the id of a batch is published when its state, progress or events have changed in SQL."""

WORKER_KEY_PATTERN: Final = "emmetd:worker:*"
"""Matches the keys of all live workers (for SCAN)."""


TASK_FUNCTION: Final = "workers.jobs.run"
"""What RQ calls in a worker, with a task's id; it runs nothing else."""


def control_queue(model: str) -> str:
    """RQ queue of short orders: plan a batch, materialise a version."""
    return f"control:{model}"


def solve_queue(model: str) -> str:
    """RQ queue of solve, check and publish."""
    return f"solve:{model}"


def evaluate_queue(model: str) -> str:
    """RQ queue of evaluations."""
    return f"evaluate:{model}"


def values_queue(model: str) -> str:
    """RQ queue of shards of value optimisation: the long work, polled last."""
    return f"values:{model}"


def queues_for(model: str) -> list[str]:
    """The model's RQ queues in the order in which a worker polls them, most urgent first."""
    return [control_queue(model), solve_queue(model), evaluate_queue(model), values_queue(model)]


def generate_stream(model: str) -> str:
    """Stream of completion requests, read through a consumer group so that any worker of the model answers."""
    return f"generate:{model}"


GENERATE_GROUP: Final = "workers"
"""Consumer group of each such stream; its consumers are named by the workers' ids."""


def claimed_key(request_id: str) -> str:
    """Key with a lifetime: the id of the worker that took the request and still works on it."""
    return f"emmetd:claimed:{request_id}"


def asked_key(request_id: str) -> str:
    """Key with a lifetime: the request's entry on its model's stream."""
    return f"emmetd:asked:{request_id}"


def reply_stream(request_id: str) -> str:
    """Capped stream with a lifetime that carries one request's tokens back."""
    return f"emmetd:reply:{request_id}"


def reader_stream(reader_id: str) -> str:
    """Stream with a lifetime whose entries wake one front end's reader of replies."""
    return f"emmetd:reader:{reader_id}"


def cancelled_key(request_id: str) -> str:
    """Key with a lifetime that exists once nobody waits for this request's tokens any more."""
    return f"emmetd:cancelled:{request_id}"


def rate_key(kind: str, key_id: str) -> str:
    """Hash with a lifetime: what an API key has left of its requests or tokens of the minute."""
    return f"emmetd:rate:{kind}:{key_id}"


def worker_key(worker_id: str) -> str:
    """Key with a lifetime that a live worker renews with its heartbeat."""
    return f"emmetd:worker:{worker_id}"
