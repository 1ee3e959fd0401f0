"""What clients ask for, by chance: edits of one shard and of several, reverts, measurements, and aliases moved."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.support.running.installation import MODEL, OTHER
from tests.support.saved_models import LANGUAGES, SUBJECTS, facts

THRESHOLDS: Final = {"EM": 0.0, "drift": 1e9, "retained": 1.0}
QUICK: Final = {"steps": 12, "repair_rounds": 0, "contexts": 2}
THOROUGH: Final = {"steps": 6, "repair_rounds": 0, "contexts": 16, "stop_after_argmax": -1, "stop_loss": 0.0}
LONG_PROMPT: Final = (
    "{} is located in Lyon and in Madrid and in New Zealand and plays the guitar and the piano and speaks"
)
"""With `THOROUGH` half of all subjects are several shards, of about a second each."""


@dataclass(frozen=True)
class Piece:
    """A request that is sent until it is kept. `refusals` are answers too: what it named may have changed meanwhile."""

    kind: str
    model: str
    path: str
    body: dict[str, Any]
    method: str = "POST"
    refusals: frozenset[str] = frozenset()

    @property
    def is_batch(self) -> bool:
        return self.kind in ("edit", "shards", "revert")


@dataclass(frozen=True)
class Known:
    """What there is when a round begins: each model's newest version, and the versions that an edit made."""

    newest: Mapping[str, int]
    edited: Mapping[str, Sequence[int]]


def pieces(chance: random.Random, known: Known) -> list[Piece]:
    """A round's work: always an edit of several shards and one of another model, and always a revert once it can be."""
    found = [shards(chance), edit(chance, MODEL, known), edit(chance, OTHER, known)]
    if known.edited[MODEL]:
        found.append(revert(chance, known))
    found.append(evaluation(chance, known))
    if chance.random() < 0.5:
        found.append(alias(chance, known, "latest"))
    found.append(alias(chance, known, "stable"))
    return found


def shards(chance: random.Random) -> Piece:
    chosen = [{**_fact(chance, subject), "prompt": LONG_PROMPT} for subject in chance.sample(SUBJECTS, 12)]
    body = {"model": MODEL, "facts": chosen, "settings": THOROUGH, "thresholds": THRESHOLDS}
    return Piece("shards", MODEL, "/v1/edits", body)


def edit(chance: random.Random, model: str, known: Known) -> Piece:
    """A small batch: mostly on the line, sometimes a branch, a dry run or an urgent one."""
    chosen = [_fact(chance, subject) for subject in chance.sample(SUBJECTS, chance.randint(1, 3))]
    body: dict[str, Any] = {"model": model, "facts": chosen, "settings": QUICK, "thresholds": THRESHOLDS}
    kind = chance.random()
    if kind < 0.2:
        body["model"] = f"{model}@v{chance.randint(0, known.newest[model])}"
    elif kind < 0.3:
        body["urgent"] = True
    elif kind < 0.4:
        body["dry_run"] = True
    return Piece("edit", model, "/v1/edits", body)


def revert(chance: random.Random, known: Known) -> Piece:
    """Of an edit on the version that it made, or on the line, where it may be missing or have been taken out before."""
    version = f"v{chance.choice(known.edited[MODEL])}"
    body: dict[str, Any] = {"facts": [0], "thresholds": THRESHOLDS}
    if chance.random() < 0.7:
        return Piece("revert", MODEL, f"/v1/models/{MODEL}/versions/{version}/revert", body)
    path = f"/v1/models/{MODEL}/versions/latest/revert"
    return Piece("revert", MODEL, path, {**body, "of": version}, refusals=frozenset({"not_in_lineage"}))


def evaluation(chance: random.Random, known: Known) -> Piece:
    version = f"{MODEL}@v{chance.randint(0, known.newest[MODEL])}"
    body = {"model": version, "facts": facts(3, first=3 * chance.randrange(4)), "metrics": ["ES", "PS", "NS"]}
    return Piece("evaluation", MODEL, "/v1/evaluations", body)


def alias(chance: random.Random, known: Known, name: str) -> Piece:
    """Point it at any version: of `latest` a rollback, under the feet of what runs."""
    body = {"version": f"v{chance.randint(0, known.newest[MODEL])}"}
    return Piece("alias", MODEL, f"/v1/models/{MODEL}/aliases/{name}", body, method="PUT")


def _fact(chance: random.Random, subject: str) -> dict[str, Any]:
    return {"prompt": "The mother tongue of {} is", "subject": subject, "target_new": chance.choice(LANGUAGES)}
