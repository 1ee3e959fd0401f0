"""Keeps targets at what they shall serve: looks each second which deployments are due, and gives each a task.

Any number of processes may do so side by side: a deployment is worked on under a claim, which a living process renews
and a dead one loses. A target that is slow or away keeps nobody waiting but itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import httpx
import structlog
from anyio import CapacityLimiter
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from service.deployments.engine import engines_client
from service.deployments.step import step
from service.deployments.work import Work
from service.resources import Resources
from store.errors import LeaseLostError
from store.schema.database import Database
from store.work import deployments

LOOK_SECONDS: Final = 1.0
_THREADS: Final = 4
_RENEW_SECONDS: Final = deployments.CLAIM_SECONDS / 3
_AGAIN_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def reconciling(resources: Resources) -> AsyncIterator[None]:
    """While this is open, deployments are brought to what they shall be."""
    async with engines_client() as http:
        looking = asyncio.create_task(_Reconciler(resources, http).run(), name="deployments")
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking


class _Reconciler:
    def __init__(self, resources: Resources, http: httpx.AsyncClient) -> None:
        self._resources = resources
        self._http = http
        self._threads = CapacityLimiter(_THREADS)
        self._at_work: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        away = False
        try:
            while True:
                try:
                    await self._round()
                    away = False
                except (SQLAlchemyError, OSError) as error:
                    if not away:
                        log.warning("deployments wait", error=type(error).__name__)
                    away = True
                except Exception:
                    # Without this task no target would ever be looked at again: say it, and go on.
                    log.exception("deployments cannot be looked at")
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in self._at_work.values():
                task.cancel()
            await asyncio.gather(*self._at_work.values(), return_exceptions=True)

    async def _round(self) -> None:
        work = self._work("", "")
        for deployment in await work.in_thread(_due, self._resources.database):
            if deployment in self._at_work:
                continue
            claim = secrets.token_hex(16)
            if await work.in_thread(_claim, self._resources.database, deployment, claim):
                task = asyncio.create_task(self._at(self._work(deployment, claim)), name=f"deployment {deployment}")
                self._at_work[deployment] = task

    def _work(self, deployment: str, claim: str) -> Work:
        return Work(self._resources, self._http, self._threads, deployment, claim)

    async def _at(self, work: Work) -> None:
        """One step, under a claim that is renewed meanwhile. Nothing that goes wrong with one ends the others."""
        stepping = asyncio.ensure_future(step(work))
        renewing = asyncio.ensure_future(_renewed(work))
        try:
            await asyncio.wait((stepping, renewing), return_when=asyncio.FIRST_COMPLETED)
            await (stepping if stepping.done() else renewing)
        except LeaseLostError as error:
            log.info("a deployment is left alone", deployment=work.deployment, reason=str(error))
        except (SQLAlchemyError, RedisError, OSError) as error:
            log.warning("a deployment waits", deployment=work.deployment, error=type(error).__name__)
            await self._given_up(work)
        except Exception:
            log.exception("a deployment failed", deployment=work.deployment)
            await self._given_up(work)
        finally:
            for task in (stepping, renewing):
                task.cancel()
            await asyncio.gather(stepping, renewing, return_exceptions=True)
            del self._at_work[work.deployment]

    async def _given_up(self, work: Work) -> None:
        with suppress(SQLAlchemyError, OSError, LeaseLostError):
            await work.in_thread(_release, work)


async def _renewed(work: Work) -> None:
    """Until it is cancelled. Raises LeaseLostError."""
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        with suppress(SQLAlchemyError, OSError):
            await work.in_thread(_renew, work)


def _due(database: Database) -> list[str]:
    with database.reading() as session:
        return deployments.due(session)


def _claim(database: Database, deployment: str, claim: str) -> bool:
    with database.writing() as session:
        return deployments.claim(session, deployment, claim) is not None


def _renew(work: Work) -> None:
    with work.resources.database.writing() as session:
        deployments.keep_claim(session, work.deployment, work.claim)


def _release(work: Work) -> None:
    with work.resources.database.writing() as session:
        deployments.release(deployments.held(session, work.deployment, work.claim), _AGAIN_SECONDS)
