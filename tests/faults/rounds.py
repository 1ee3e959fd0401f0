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
from store.schema.tables import BatchRow, EvaluationRow, TaskRow, VersionRow
from store.upkeep.integrity import Verified, violations
from tests.faults.faults import Fault, possible
from tests.faults.invariants import broken_promises
from tests.faults.load import PROMPTS, Told, ask, send
from tests.support.running.installation import MODEL, OTHER, Installation, wait_until
from tests.support.running.work import Known, Piece, pieces

END_SECONDS: Final = 240
"""A batch that has not ended so long after the last fault was mended never will."""
_ASKERS: Final = 2


@dataclass(frozen=True)
class Round:
    """`work` is what was asked for, `shards` how many the round's edits had, and `ends` how its batches ended."""

    number: int
    faults: tuple[str, ...]
    work: tuple[str, ...]
    shards: int
    ends: dict[str, int]
    seconds: float
    violations: tuple[str, ...]

    @property
    def batches(self) -> int:
        return sum(self.ends.values())


class Rounds:
    """Rounds against one installation. What happens in round `n` follows from the seed, `n` and what there is then."""

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
        known = self.known()
        wanted = pieces(chance, known)
        cancelled = chance.choice([n for n, piece in enumerate(wanted) if piece.is_batch])
        if chance.random() > 0.3:
            cancelled = -1
        delays = [chance.uniform(0, 0 if piece.is_batch else 3) for piece in wanted]
        moments = [chance.uniform(0, 1.5) for _ in chosen]
        until = started + END_SECONDS
        with ThreadPoolExecutor(len(wanted) + _ASKERS) as pool:
            senders = [
                pool.submit(self._send, f"{self.seed}/{number}/{n}", piece, delays[n], until, n == cancelled, ended)
                for n, piece in enumerate(wanted)
            ]
            askers = [
                pool.submit(self._ask, random.Random(f"{self.seed}/{number}/{model}"), model, known, ended)
                for model in (MODEL, OTHER)
            ]
            for fault, moment in zip(chosen, moments, strict=True):
                ended.wait(moment)
                fault(self.installation, chance, ended)
            self.installation.restart_what_died()
            for sender in senders:
                sender.result()
            found = self._settle()
            ended.set()
            for asker in askers:
                asker.result()
        found += self._check(known)
        keys = [self.told.accepted.get(f"{self.seed}/{number}/{n}") for n in range(len(wanted))]
        shards, ends = self._became([key for key in keys if key is not None])
        return Round(
            number=number,
            faults=tuple(fault.__name__ for fault in chosen),
            work=tuple(piece.kind for piece in wanted),
            shards=shards,
            ends=ends,
            seconds=round(time.monotonic() - started, 1),
            violations=tuple(found),
        )

    def _send(self, key: str, piece: Piece, delay: float, until: float, cancel: bool, ended: threading.Event) -> None:
        ended.wait(delay)
        send(self.installation, self.told, key, piece, until)
        if cancel and key in self.told.accepted:
            try:
                self.installation.http[0].post(f"/v1/edits/{self.told.accepted[key]}/cancel")
            except httpx.TransportError as error:
                self.told.refused(type(error).__name__)

    def _ask(self, chance: random.Random, model: str, known: Known, ended: threading.Event) -> None:
        while not ended.is_set():
            reference = model if chance.random() < 0.3 else f"{model}@v{chance.randint(0, known.newest[model])}"
            if not ask(self.installation, self.told, reference, chance.sample(PROMPTS, 2), chance.randrange(2)):
                ended.wait(0.2)

    def known(self) -> Known:
        with self.database.reading() as session:
            numbers = {
                model: session.scalar(select(func.max(VersionRow.number)).where(VersionRow.model == model)) or 0
                for model in (MODEL, OTHER)
            }
            made = select(BatchRow.model, BatchRow.version).where(
                BatchRow.kind == "edit", BatchRow.version.is_not(None)
            )
            edited: dict[str, list[int]] = {MODEL: [], OTHER: []}
            for model, version in session.execute(made.order_by(BatchRow.version)):
                edited[model].append(version)
        return Known(numbers, edited)

    def _settle(self) -> list[str]:
        """Wait for everything to end; what did not."""

        def all_ended() -> bool:
            self.installation.restart_what_died()
            with self.database.reading() as session:
                states = list(session.scalars(select(BatchRow.state).where(BatchRow.state.not_in(FINAL_STATES))))
                states += session.scalars(select(EvaluationRow.state).where(EvaluationRow.finished_at.is_(None)))
                return not states

        try:
            wait_until(all_ended, "every batch and every evaluation ends", END_SECONDS)
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

    def _check(self, before: Known) -> list[str]:
        """Nothing is wrong in SQL and blobs, and each version says in the calm what it said in the storm."""
        newest = self.known().newest
        for model in (MODEL, OTHER):
            for number in range(before.newest[model], newest[model] + 1):
                if not self._answers(f"{model}@v{number}"):
                    self.told.wrong.append(f"{model}@v{number} does not answer: {self.told.refusals}")
        found = violations(self.database, self.installation.blobs, settled=True, verified=self._verified)
        found += broken_promises(self.database, self.told)
        found += [f"{said} ({count} times)" for said, count in Counter(self.told.wrong).items()]
        self.told.wrong = []
        return found

    def _became(self, batch_ids: Sequence[str]) -> tuple[int, dict[str, int]]:
        """Shards and ends of some batches."""
        with self.database.reading() as session:
            rows = session.scalars(select(BatchRow).where(BatchRow.id.in_(batch_ids)))
            ends = Counter(f"{row.kind} {row.error['code'] if row.error else row.state}" for row in rows)
            of_these = TaskRow.kind == "values", TaskRow.batch_id.in_(batch_ids)
            shards = session.scalar(select(func.count()).select_from(TaskRow).where(*of_these)) or 0
        return shards, dict(sorted(ends.items()))
