"""Loads the matrices of versions on threads of its own, so that no sequence waits while another's version is made."""

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
from workers.weights.matrix_cache import MatrixCache

THREADS = 2
RETRY_SECONDS = 2.0
"""A version whose blobs are missing or damaged is not tried again sooner, however many ask: they wait for the next try
together, which may find it mended."""

log = structlog.get_logger(__name__)


class VersionUnavailable(Exception):
    """A version cannot be served; the message is for the client."""


class VersionLoader:
    """Belongs to the thread that decodes; only the loading is done by others."""

    def __init__(self, matrices: MatrixCache) -> None:
        self._matrices = matrices
        self._pool = ThreadPoolExecutor(
            THREADS, thread_name_prefix="prepare", initializer=use_cores, initargs=(torch.get_num_threads(),)
        )
        self._loads: dict[int, Future[Matrices]] = {}
        self._failed: dict[int, float] = {}

    @property
    def versions(self) -> frozenset[int]:
        """Those that are being loaded, or were and have not been asked for since."""
        return frozenset(self._loads)

    def get(self, version: int) -> Matrices | None:
        """The version's matrices, or None while they are loaded; ask again.

        Raises VersionUnavailable where they cannot be: once, which is the answer to all who wait for it then.
        """
        load = self._loads.get(version)
        if load is None:
            cached = self._matrices.cached(version)
            if cached is not None:
                return cached
            if time.monotonic() - self._failed.get(version, -math.inf) >= RETRY_SECONDS:
                self._failed.pop(version, None)
                self._loads[version] = self._pool.submit(self._matrices.get, version)
            return None
        if not load.done():
            return None
        del self._loads[version]
        try:
            return load.result()
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
        if self._loads:
            wait(self._loads.values(), timeout=seconds, return_when=FIRST_COMPLETED)
        else:
            time.sleep(seconds)

    def keep_only(self, wanted: Collection[int]) -> None:
        """Let go of what was loaded for requests that are gone."""
        for version in [version for version, load in self._loads.items() if load.done() and version not in wanted]:
            del self._loads[version]

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
