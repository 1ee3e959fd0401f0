"""Versions whose matrices are not in memory, made ready beside the thread that decodes: no row waits for them."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import structlog
import torch

from editing.model.projection import Matrices
from editing.parallel import use_cores
from store.errors import BlobError, StoreError
from workers.weights.materialise import MatrixCache

THREADS = 2
RETRY_SECONDS = 2.0
"""A version whose blobs are missing or damaged is not tried again sooner, however many ask: they wait for the next try
together, which may find it mended."""

log = structlog.get_logger(__name__)


class VersionUnavailable(Exception):
    """A version cannot be served; the message is for the client."""


class Preparation:
    """Belongs to the thread that decodes; only the making is done by others."""

    def __init__(self, matrices: MatrixCache) -> None:
        self._matrices = matrices
        self._pool = ThreadPoolExecutor(
            THREADS, thread_name_prefix="prepare", initializer=use_cores, initargs=(torch.get_num_threads(),)
        )
        self._made: dict[int, Future[Matrices]] = {}
        self._failed: dict[int, float] = {}

    @property
    def versions(self) -> frozenset[int]:
        """Those that are being made, or were and have not been asked for since."""
        return frozenset(self._made)

    def get(self, version: int) -> Matrices | None:
        """The version's matrices, or None while they are made; ask again.

        Raises VersionUnavailable where they cannot be: once, which is the answer to all who wait for it then.
        """
        made = self._made.get(version)
        if made is None:
            held = self._matrices.held(version)
            if held is not None:
                return held
            if time.monotonic() - self._failed.get(version, -math.inf) >= RETRY_SECONDS:
                self._failed.pop(version, None)
                self._made[version] = self._pool.submit(self._matrices.get, version)
            return None
        if not made.done():
            return None
        del self._made[version]
        try:
            return made.result()
        except StoreError as error:
            log.error("a version cannot be served", version=version, error=str(error))
            if isinstance(error, BlobError):
                self._failed[version] = time.monotonic()
            raise VersionUnavailable(str(error)) from error
        except Exception as error:
            # A database or disk that is away must not end the thread that answers everybody.
            log.exception("a version cannot be read", version=version)
            raise VersionUnavailable(
                "the worker cannot read this version now, its log says why; try again later"
            ) from error

    def wait(self, seconds: float) -> None:
        """Until a version is ready, `seconds` at most."""
        if self._made:
            wait(self._made.values(), timeout=seconds, return_when=FIRST_COMPLETED)
        else:
            time.sleep(seconds)

    def keep_only(self, wanted: Collection[int]) -> None:
        """Let go of what was made for requests that are gone."""
        for version in [version for version, made in self._made.items() if made.done() and version not in wanted]:
            del self._made[version]

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
