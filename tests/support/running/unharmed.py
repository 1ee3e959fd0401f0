"""Whether a server is as well after an onslaught as it was before: the same processes, and all work at its end."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from sqlalchemy import select

from store.schema.tables import BatchRow, EvaluationRow
from tests.support.running.server import API, FINAL, WORKER, Server
from tests.support.saved_models import fact

_ENDED: Final = frozenset(FINAL)
_UNFORESEEN: Final = "internal"
"""The code of what no one foresaw: in a job's error as in a problem."""


class Unharmed:
    """Remembers the processes of `server`, which serves `model`, and looks again when asked."""

    def __init__(self, server: Server, model: str) -> None:
        self._server, self._model = server, model
        self._pids = self._processes()

    def violations(self, patience_seconds: float) -> list[str]:
        """What is not as it should be, once all work has ended or `patience_seconds` are over."""
        found = self._stuck(patience_seconds)
        if self._processes() != self._pids:
            found.append(f"the processes were {self._pids} and are {self._processes()}")
        if "Traceback" in self._server.said():
            begin = self._server.said().index("Traceback")
            found.append(f"the log has a traceback: {self._server.said()[begin : begin + 3000]}")
        if self._server.http.get("/readyz").status_code != 200:
            found.append(f"not ready: {self._server.http.get('/readyz').text}")
        return found + self._still_serves()

    def outcomes(self) -> dict[str, int]:
        """How many batches and evaluations ended how: by state, and by code where there is an error."""
        told: dict[str, int] = {}
        for kind, row in self._rows():
            code = f" ({row.error['code']})" if row.error else ""
            told[f"{kind} {row.state}{code}"] = told.get(f"{kind} {row.state}{code}", 0) + 1
        return dict(sorted(told.items()))

    def _processes(self) -> dict[str, list[int]]:
        return {name: sorted(self._server.pids(name)) for name in (API, WORKER)}

    def _rows(self) -> list[tuple[str, Any]]:
        database = self._server.database()
        try:
            with database.reading() as session:
                kinds = (("edit", BatchRow), ("evaluation", EvaluationRow))
                return [(kind, row) for kind, table in kinds for row in session.scalars(select(table))]
        finally:
            database.close()

    def _stuck(self, patience_seconds: float) -> list[str]:
        deadline = time.monotonic() + patience_seconds
        while True:
            rows = self._rows()
            left = [f"{kind} {row.id} is {row.state}" for kind, row in rows if row.state not in _ENDED]
            if not left or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        unforeseen = [row for _, row in rows if row.error and row.error["code"] == _UNFORESEEN]
        return left[:20] + [f"{row.id}: {json.dumps(row.error)}" for row in unforeseen[:20]]

    def _still_serves(self) -> list[str]:
        """An ordinary batch becomes a version, and a completion is answered."""
        quick = {"steps": 2, "contexts": 0, "repair_rounds": 0}
        body = {
            "model": self._model,
            "facts": [fact(0)],
            "settings": quick,
            "thresholds": {"EM": 0.0, "drift": 1e9, "retained": 1.0},
        }
        answer = self._server.http.post("/v1/edits", json=body)
        if answer.status_code != 202:
            return [f"an ordinary batch is refused: {answer.text}"]
        job = self._server.outcome(answer.json()["id"])
        found = [] if job["state"] == "succeeded" else [f"an ordinary batch ends {job['state']}: {job['error']}"]
        asked = {"model": self._model, "prompt": "The mother tongue of", "max_tokens": 2}
        answer = self._server.http.post("/v1/completions", json=asked)
        return found if answer.status_code == 200 else [*found, f"a completion is refused: {answer.text}"]
