"""What can happen to an installation. Each fault breaks something, lasts a while and is mended."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable
from typing import Final

from tests.support.running.installation import Installation

Fault = Callable[[Installation, random.Random, threading.Event], None]
"""Waits are on the event, so that the end of the run cuts them short."""


def kill_api(here: Installation, chance: random.Random, ended: threading.Event) -> None:
    """And its relay with it."""
    part = chance.choice(here.apis)
    part.kill()
    ended.wait(chance.uniform(0, 1))
    part.start()


def kill_worker(here: Installation, chance: random.Random, ended: threading.Event) -> None:
    part = chance.choice(here.workers)
    part.kill()
    ended.wait(chance.uniform(0, 1))
    part.start()


def kill_every_worker(here: Installation, chance: random.Random, ended: threading.Event) -> None:
    for part in here.workers:
        part.kill()
    ended.wait(chance.uniform(0, 1))
    for part in here.workers:
        part.start()


def freeze_worker(here: Installation, chance: random.Random, ended: threading.Event) -> None:
    """For longer than its lease: it wakes as a zombie whose work was given to another."""
    part = chance.choice(here.workers)
    if part.process is not None:
        part.process.send_signal(signal.SIGSTOP)
        ended.wait(3)
        part.process.send_signal(signal.SIGCONT)


def kill_redis(here: Installation, chance: random.Random, ended: threading.Event) -> None:
    here.redis.kill()
    ended.wait(chance.uniform(0, 2))
    here.start_redis()


def flush_redis(here: Installation, chance: random.Random, ended: threading.Event) -> None:
    with here.queue() as queue:
        queue.flushall()


def cut_network(here: Installation, chance: random.Random, ended: threading.Event) -> None:
    """Between the workers and Redis."""
    here.proxy.cut()
    ended.wait(chance.uniform(0.5, 3))
    here.proxy.mend()


def fill_disk(here: Installation, chance: random.Random, ended: threading.Event) -> None:
    here.disk.fill()
    ended.wait(chance.uniform(0.5, 2.5))
    here.disk.free()


def restart_postgres(here: Installation, chance: random.Random, ended: threading.Event) -> None:
    assert here.cluster is not None
    here.cluster.stop(chance.choice([signal.SIGINT, signal.SIGQUIT]))
    ended.wait(chance.uniform(0, 1))
    here.cluster.start()


FAULTS: Final[tuple[Fault, ...]] = (
    kill_api,
    kill_worker,
    kill_every_worker,
    freeze_worker,
    kill_redis,
    flush_redis,
    cut_network,
    fill_disk,
    restart_postgres,
)


def possible(here: Installation) -> list[Fault]:
    """Those that this installation can suffer."""
    left_out = set()
    if not here.has_own_disk:
        left_out.add(fill_disk)
    if here.cluster is None:
        left_out.add(restart_postgres)
    return [fault for fault in FAULTS if fault not in left_out]
