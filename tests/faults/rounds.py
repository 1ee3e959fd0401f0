"""Rounds: load, a fault in its midst, then everything ends and is looked at."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import httpx
from sqlalchemy import func, select

from api_schemas.edits import FINAL_STATES
from tests.faults.faults import Fault, possible
from tests.faults.installation import MODEL, Installation, wait_until
from tests.faults.load import PROMPTS, Told, ask, body_of, submit
from versions.integrity import Verified, violations
from versions.tables import BatchRow, VersionRow

END_SECONDS: Final = 90
"""A batch that has not ended so long after the last fault was mended never will."""
_BATCHES: Final = 4


@dataclass(frozen=True)
class Round:
    number: int
    faults: tuple[str, ...]
    batches: int
    seconds: float
    violations: tuple[str, ...]


class Rounds:
    """Rounds against one installation. What happens in round `n` follows from the seed and `n` alone."""

    def __init__(self, installation: Installation, seed: int) -> None:
        self.installation = installation
        self.seed = seed
        self.told = Told()
        self.database = installation.database()
        self._faults = possible(installation)
        self._verified = Verified()

    def close(self) -> None:
        self.database.close()

    def run(self, number: int, faults: Sequence[Fault] | None = None) -> Round:
        """One round, with `faults` where they are named and one or two by chance elsewhere."""
        chance = random.Random(f"{self.seed}/{number}")
        chosen = faults or chance.sample(self._faults, 2 if chance.random() < 0.25 else 1)
        started = time.monotonic()
        ended = threading.Event()
        versions = self.newest() + 1
        bodies = [body_of(chance, versions) for _ in range(_BATCHES)]
        cancelled = chance.randrange(_BATCHES) if chance.random() < 0.3 else None
        moments = [chance.uniform(0, 1.5) for _ in chosen]
        until = started + END_SECONDS
        with ThreadPoolExecutor(_BATCHES + 1) as pool:
            editors = [
                pool.submit(self._edit, f"{self.seed}/{number}/{n}", body, until, n == cancelled, ended)
                for n, body in enumerate(bodies)
            ]
            asker = pool.submit(self._ask, random.Random(f"{self.seed}/{number}/ask"), versions, ended)
            for fault, moment in zip(chosen, moments, strict=True):
                ended.wait(moment)
                fault(self.installation, chance, ended)
            self.installation.restart_what_died()
            for editor in editors:
                editor.result()
            found = self._settle()
            ended.set()
            asker.result()
        found += self._check(versions)
        names = tuple(fault.__name__ for fault in chosen)
        return Round(number, names, len(bodies), round(time.monotonic() - started, 1), tuple(found))

    def _edit(self, key: str, body: dict[str, object], until: float, cancel: bool, ended: threading.Event) -> None:
        submit(self.installation, self.told, key, body, until)
        if cancel and key in self.told.accepted:
            try:
                self.installation.http[0].post(f"/v1/edits/{self.told.accepted[key]}/cancel")
            except httpx.TransportError as error:
                self.told.refused(type(error).__name__)

    def _ask(self, chance: random.Random, versions: int, ended: threading.Event) -> None:
        while not ended.is_set():
            reference = MODEL if chance.random() < 0.3 else f"{MODEL}@v{chance.randrange(versions)}"
            if not ask(self.installation, self.told, reference, chance.sample(PROMPTS, 2), chance.randrange(2)):
                ended.wait(0.2)

    def newest(self) -> int:
        """Number of the newest version."""
        with self.database.reading() as session:
            return session.scalar(select(func.max(VersionRow.number)).where(VersionRow.model == MODEL)) or 0

    def _settle(self) -> list[str]:
        """Wait for everything to end; what did not."""

        def all_ended() -> bool:
            self.installation.restart_what_died()
            with self.database.reading() as session:
                states = session.scalars(select(BatchRow.state).where(BatchRow.state.not_in(FINAL_STATES)))
                return not list(states)

        try:
            wait_until(all_ended, "every batch ends", END_SECONDS)
            self.installation.wait_until_ready()
        except TimeoutError as error:
            return [str(error)]
        return []

    def _answers(self, reference: str) -> bool:
        """A worker that was killed counts as ready for some seconds more, and its successor may still be starting."""
        until = time.monotonic() + END_SECONDS
        while not ask(self.installation, self.told, reference, PROMPTS):
            if time.monotonic() > until:
                return False
            time.sleep(0.5)
        return True

    def _check(self, versions: int) -> list[str]:
        """Nothing is wrong in SQL and blobs, and each version says in the calm what it said in the storm."""
        newest = self.newest()
        for number in range(max(versions - 1, 0), newest + 1):
            if not self._answers(f"{MODEL}@v{number}"):
                self.told.wrong.append(f"v{number} does not answer: {self.told.refusals}")
        found = violations(self.database, self.installation.blobs, settled=True, verified=self._verified)
        with self.database.reading() as session:
            kept = {row.idempotency_key: row.id for row in session.scalars(select(BatchRow))}
        for key, batch_id in self.told.accepted.items():
            if kept.get(key) != batch_id:
                found.append(f"batch {batch_id} was accepted under {key}, and {kept.get(key)} is kept")
        found += [f"{said} ({count} times)" for said, count in Counter(self.told.wrong).items()]
        self.told.wrong = []
        return found
