"""What versions were read as on held-out text: kept in memory and with each version, and not read again."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from editing.atomic_files import whole_file
from editing.model.projection import Matrices
from editing.progress import ShouldStop, never
from editing.readings.held_out_text import UNREAD, HeldOutText
from editing.readings.observations import HeldOutReading

MOST_KEPT: Final = 256
"""Versions whose readings a worker keeps in memory: some hundred numbers each."""
STORED: Final = "held_out"
"""Where a version's blob has its reading, in the header."""

VersionKey = frozenset[tuple[str, str]]
"""Layers and SHA-256 of a version's matrices: the same matrices read the same."""
BASE: Final[VersionKey] = frozenset()


log = structlog.get_logger(__name__)


def version_key(matrix_hashes: Mapping[str, str]) -> VersionKey:
    return frozenset(matrix_hashes.items())


class HeldOutReadings:
    """Readings of one model's versions on one held-out text. For one thread at a time.

    What `at` reads of the base is kept in the file `base_file`, too, where one is given: a worker's first edit need not
    wait for what every worker of the model on this machine has read.
    """

    def __init__(self, text: HeldOutText, base_file: Path | None = None) -> None:
        self.text = text
        self._base_file = base_file
        self._kept: OrderedDict[VersionKey, HeldOutReading] = OrderedDict()
        if base_file is not None:
            self.take_stored(BASE, _stored_in(base_file))

    def knows(self, key: VersionKey) -> bool:
        return key in self._kept

    def known(self, key: VersionKey) -> HeldOutReading:
        """What was read of the version `key` so far."""
        return self._kept.get(key, UNREAD)

    def keep(self, key: VersionKey, reading: HeldOutReading) -> None:
        """Unless more was read of that version."""
        if len(reading.tokens) > len(self._kept.get(key, UNREAD).tokens):
            self._kept[key] = reading
        if key in self._kept:
            self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def at(self, key: VersionKey, matrices: Matrices, texts: int, should_stop: ShouldStop = never) -> HeldOutReading:
        """Of the first `texts` texts; what of them was not read yet is read with `matrices`, those of version `key`."""
        known = self.known(key)
        if len(known.tokens) < texts:
            known = self.text.read_to(matrices, known, texts, should_stop)
            if key == BASE and self._base_file is not None:
                _store_in(self._base_file, self.as_stored(known))
        self.keep(key, known)
        return HeldOutReading(known.log_likelihoods[:texts], known.tokens[:texts])

    def begin(self) -> None:
        """Read the base on the first portion, which every check compares with."""
        if len(self.text):
            self.at(BASE, {}, self.text.portions[0])

    def as_stored(self, reading: HeldOutReading) -> dict[str, Any]:
        """For the header of a version's blob."""
        return {"text": self.text.identity, "log_likelihoods": list(reading.log_likelihoods)}

    def take_stored(self, key: VersionKey, stored: Any) -> None:
        """Keep what a version's blob says, if it is of this text; else it is no use here."""
        if not isinstance(stored, dict) or stored.get("text") != self.text.identity:
            return
        sums = stored.get("log_likelihoods")
        if isinstance(sums, list) and all(isinstance(one, float) and math.isfinite(one) for one in sums):
            sums = sums[: len(self.text)]
            self.keep(key, HeldOutReading(tuple(sums), self.text.predicted[: len(sums)]))


def _stored_in(file: Path) -> Any:
    """None where there is none, or none that can be read: then it is made again."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.info("the base's reading cannot be had; it is read again", file=file.name, error=type(error).__name__)
        return None


def _store_in(file: Path, reading: Any) -> None:
    try:
        with whole_file(file) as part:
            part.write_text(json.dumps(reading))
    except OSError as error:  # the next worker reads it again
        log.info("the base's reading is not kept", file=file.name, error=type(error).__name__)
