"""Whoever lets completions pass waits for their end, and no longer than it likes."""

from __future__ import annotations

import threading
import time

from workers.generation.traffic import Traffic


def test_it_is_waited_for_the_end_of_completions() -> None:
    traffic = Traffic()
    began = time.monotonic()
    traffic.let_pass(60)
    traffic.is_any(True)
    traffic.let_pass(0.01)
    timer = threading.Timer(0.05, traffic.is_any, (False,))
    timer.start()
    traffic.let_pass(60)
    assert time.monotonic() - began < 30
    timer.join()
