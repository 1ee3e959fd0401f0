"""Runs child processes until told to stop: restarts the dead, stops all in order, gives up with a reason.

    async with Supervisor(announce) as supervisor:
        await supervisor.run_once(migrate)
        await supervisor.keep(redis, ready=answers)
        await supervisor.keep(api)
        await supervisor.run(watch_readiness())

Leaving the block, for whatever reason, stops every child in the reverse order of their start.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from cli.supervision.child import Child, ChildSpec
from cli.supervision.restarts import RestartHistory, RestartPolicy, describe_exit
from cli.terminal.errors import ChildFailedError

T = TypeVar("T")

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _StopRequested(Exception):
    """A signal asked for a stop; ends the `async with` block quietly."""


class Supervisor:
    """`announce` is told, in one line each, what a person should know. Use it in the main thread (signals)."""

    def __init__(self, announce: Callable[[str], None], policy: RestartPolicy | None = None) -> None:
        self.restarted = asyncio.Event()  # set at each restart of a child; whoever waits for it clears it
        self._announce = announce
        self._policy = policy or RestartPolicy()
        self._kept: list[_Kept] = []
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._previous_handlers: dict[signal.Signals, Any] = {}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            previous = signal.getsignal(number)
            if number == signal.SIGHUP and previous == signal.SIG_IGN:
                continue  # nohup
            self._previous_handlers[number] = previous
            loop.add_signal_handler(number, self._on_signal, number)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._stop.set()
        try:
            for kept in reversed(self._kept):
                await kept.stop(self._hurry)
        finally:
            for kept in self._kept:
                kept.kill()
            for number, previous in self._previous_handlers.items():
                asyncio.get_running_loop().remove_signal_handler(number)
                signal.signal(number, previous)
            if self._failure.done():
                self._failure.exception()  # it was raised by whoever waited; otherwise asyncio would warn
        return kind is _StopRequested

    async def run_once(
        self, spec: ChildSpec, patience: float = math.inf, meanwhile: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Run a short-lived process to its end, and do `meanwhile` if that takes longer than `patience` seconds.

        Raises `ChildFailedError` unless it exits with 0.
        """
        child = await Child.start(spec)
        ended = asyncio.ensure_future(child.wait())
        try:
            if meanwhile is not None:
                await self._unless_stopped(asyncio.wait({ended}, timeout=patience))
                if not ended.done():
                    await meanwhile()
            exit_code = await self._unless_stopped(asyncio.shield(ended))
        except BaseException:
            child.kill()
            await ended
            raise
        if exit_code != 0:
            raise ChildFailedError(spec.name, f"failed ({describe_exit(exit_code)})", child.last_lines())

    async def keep(self, spec: ChildSpec, ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start a process, restart it whenever it dies, and return once `ready` has returned."""
        self._kept.append(_Kept(spec, await Child.start(spec), self._keep_alive))
        if ready is not None:
            await self._unless_stopped(ready())

    async def run(self, work: Awaitable[None]) -> None:
        """Do `work` beside the children, then wait until a signal asks for a stop.

        Raises what `work` raises, and `ChildFailedError` when a child is beyond help.
        """
        await self._unless_stopped(work)
        await self._unless_stopped(asyncio.Event().wait())

    async def _unless_stopped(self, work: Awaitable[T]) -> T:
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({task, stop, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                self._failure.result()
            if stop.done():
                raise _StopRequested
            return task.result()
        finally:
            for unfinished in (task, stop):
                unfinished.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    async def _keep_alive(self, kept: _Kept) -> None:
        """Wait for the child's death and start it again, until a stop or until that is hopeless."""
        loop = asyncio.get_running_loop()
        history = RestartHistory(self._policy)
        try:
            while True:
                started = loop.time()
                exit_code = await kept.child.wait()
                if self._stop.is_set():
                    return
                decision = history.died(loop.time(), loop.time() - started, exit_code)
                if isinstance(decision, str):
                    raise ChildFailedError(kept.spec.name, decision, kept.child.last_lines())
                self._announce(
                    f"{kept.spec.name} died ({describe_exit(exit_code)}); starting it again in {decision:g} s"
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), decision)
                if self._stop.is_set():
                    return
                kept.child = await Child.start(kept.spec)
                if self._stop.is_set():
                    kept.child.terminate()
                self.restarted.set()
        except Exception as error:
            if not self._failure.done():
                self._failure.set_exception(error)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            if not self._hurry.is_set():
                self._announce("stopping at once")
            self._hurry.set()
        else:
            self._announce(f"stopping ({number.name}); once more stops at once")
            self._stop.set()


class _Kept:
    """A child that is kept alive, and the task that does so."""

    def __init__(self, spec: ChildSpec, child: Child, keep_alive: Callable[[_Kept], Coroutine[Any, Any, None]]) -> None:
        self.spec = spec
        self.child = child
        self._task = asyncio.create_task(keep_alive(self), name=f"keep-{spec.name}")

    async def stop(self, hurry: asyncio.Event) -> None:
        """Ask the child to stop, and end it after its `stop_seconds` or as soon as `hurry` is set."""
        self.child.terminate()
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({self._task, hurried}, timeout=self.spec.stop_seconds, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not self._task.done():
            self.child.kill()
            await self._task

    def kill(self) -> None:
        """End the child at once, if it still runs."""
        if not self._task.done():
            self.child.kill()
