"""Threads with a share of the cores each, and what they leave to the threads of others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from editing.parallel import Parallel, use_cores


@pytest.fixture(autouse=True)
def four_cores() -> Iterator[None]:
    """Numbers that can be told apart, on any machine; PyTorch does not ask whether there are so many."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def in_a_new_thread(ask: Callable[[], int]) -> int:
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(ask()))
    thread.start()
    thread.join()
    return answers[0]


def test_each_task_has_its_share_and_other_threads_all_cores() -> None:
    together = threading.Barrier(2, timeout=60)

    def task(_: int) -> tuple[str, int]:
        together.wait()  # so that each of them has a thread of its own
        return threading.current_thread().name, torch.get_num_threads()

    with Parallel(2) as parallel:
        ran = dict(parallel.map(task, [0, 1]))
        begun_meanwhile = in_a_new_thread(torch.get_num_threads)
    assert list(ran.values()) == [2, 2]
    assert begun_meanwhile == 4
    assert in_a_new_thread(torch.get_num_threads) == 4
    assert torch.get_num_threads() == 4


def test_the_number_is_set_back_where_a_thread_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    begun: list[threading.Thread] = []

    def only_one(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", only_one)
    with pytest.raises(RuntimeError, match="can't start"), Parallel(3):
        pass
    assert torch.get_num_threads() == 4
    begun[0].join(timeout=60)
    assert not begun[0].is_alive()


def test_a_thread_keeps_what_it_said_for_itself() -> None:
    said, others_said = threading.Event(), threading.Event()

    def ask() -> int:
        use_cores(3)
        said.set()
        assert others_said.wait(60)
        torch.ones(200_000).add(1)  # a first operation takes what was said last
        return torch.get_num_threads()

    def other() -> None:
        assert said.wait(60)
        torch.set_num_threads(1)
        others_said.set()

    beside = threading.Thread(target=other)
    beside.start()
    assert in_a_new_thread(ask) == 3
    beside.join()
