"""Slow answers have a place of their own, in which nobody takes everybody's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from service.access.caller import Caller
from service.errors import LimitReachedError, OverloadedError
from service.state import bounded_work
from service.state.bounded_work import BoundedWork

ADA, BOB, EVE = (Caller(name, frozenset()) for name in ("ada", "bob", "eve"))


class Slow:
    """Work that waits until it may end, and counts how much of it runs at once."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.order: list[str] = []
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()

    def of(self, caller: Caller) -> Callable[[], str]:
        def work() -> str:
            with self._lock:
                self._running += 1
                self.most = max(self.most, self._running)
                self.order.append(caller.id)
            assert self.may_end.wait(60)
            with self._lock:
                self._running -= 1
            return caller.id

        return work


def in_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


async def begun(place: BoundedWork, slow: Slow, *callers: Caller) -> list[asyncio.Task[str]]:
    """Each has its place before the next one asks."""
    tasks = []
    for caller in callers:
        tasks.append(asyncio.create_task(place.run(caller, slow.of(caller))))
        await asyncio.sleep(0)
    return tasks


def test_one_callers_share_is_bounded_and_others_have_their_turn() -> None:
    async def test() -> None:
        slow, place = Slow(), BoundedWork("walks", at_once=1, most=5, most_of_a_caller=2)
        tasks = await begun(place, slow, ADA, ADA, ADA, BOB)
        with pytest.raises(LimitReachedError, match="may have 2 walks waiting or running at a time") as refused:
            await tasks[2]
        assert (refused.value.code, refused.value.headers["Retry-After"]) == ("work_limit", "10")
        slow.may_end.set()
        assert [await task for task in (tasks[0], tasks[1], tasks[3])] == ["ada", "ada", "bob"]
        assert (slow.order, slow.most) == (["ada", "ada", "bob"], 1)
        assert await place.run(ADA, lambda: "again") == "again", "places are given back"

    in_a_loop(test)


def test_all_callers_together_are_bounded_too() -> None:
    async def test() -> None:
        slow, place = Slow(), BoundedWork("walks", at_once=2, most=3, most_of_a_caller=2)
        tasks = await begun(place, slow, ADA, BOB, ADA)
        with pytest.raises(OverloadedError, match="3 walks wait already") as refused:
            await place.run(EVE, slow.of(EVE))
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "10")
        slow.may_end.set()
        await asyncio.gather(*tasks)
        assert slow.most <= 2

    in_a_loop(test)


def test_whoever_waits_in_vain_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_work, "WAIT_SECONDS", 0.05)

    async def test() -> None:
        slow, place = Slow(), BoundedWork("walks", at_once=1, most=3, most_of_a_caller=2)
        first, second = await begun(place, slow, ADA, BOB)
        with pytest.raises(OverloadedError, match="others' walks took longer"):
            await second
        slow.may_end.set()
        assert await first == "ada"
        assert slow.order == ["ada"]

    in_a_loop(test)


def test_work_that_fails_or_is_given_up_leaves_its_place() -> None:
    def fail() -> None:
        raise ValueError("no")

    async def test() -> None:
        slow, place = Slow(), BoundedWork("walks", at_once=1, most=2, most_of_a_caller=2)
        for _ in range(3):
            with pytest.raises(ValueError, match="no"):
                await place.run(ADA, fail)
        first, second = await begun(place, slow, ADA, ADA)
        second.cancel()
        await asyncio.sleep(0)
        (third,) = await begun(place, slow, ADA)
        slow.may_end.set()
        assert [await first, await third] == ["ada", "ada"]

    in_a_loop(test)
