# Made by client/unasync.py from evaluations.py of _async: change that one, and run it.
"""`client.evaluations`: measure any version on facts, beside another one where asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import PrivateAttr

from emmetd_client._calls import Call, creation_headers, reading, text
from emmetd_client._facts import FactInput, written
from emmetd_client._progress import OnProgress
from emmetd_client._sync.jobs import awaited
from emmetd_client._sync.listing import Listing, page_reader
from emmetd_client._sync.transport import Transport
from emmetd_client.errors import ConfigurationError
from emmetd_client.models.evaluations import EvaluationData, EvaluationRow

_JOB = "/v1/evaluations/{evaluation_id}"


class Evaluation(EvaluationData):
    """An evaluation that can be asked how it is. Its fields are as they were last seen."""

    _transport: Transport = PrivateAttr()

    def _bound(self, transport: Transport) -> Evaluation:
        self._transport = transport
        return self

    def _renew(self, seen: EvaluationData) -> Evaluation:
        for name in type(seen).model_fields:
            setattr(self, name, getattr(seen, name))
        return self

    def refresh(self) -> Evaluation:
        call = Call("GET", _JOB, reading(EvaluationData), path={"evaluation_id": self.id})
        return self._renew(self._transport.send(call))

    def wait(self, *, on_progress: OnProgress = None, timeout: float | None = None, check: bool = True) -> Evaluation:
        """Wait for its end; as `wait` of an edit."""
        seen = EvaluationData.model_validate(self.model_dump(by_alias=True))
        path = {"evaluation_id": self.id}
        self._renew(awaited(self._transport, seen, _JOB, path, on_progress, timeout))
        if check:
            self.raise_unless_succeeded()
        return self

    def rows(self, *, page_size: int | None = None) -> Listing[EvaluationRow]:
        """A row for each fact, as far as it has been measured."""
        return _rows(self._transport, self.id, page_size)

    def report(self) -> str:
        """A page to read (HTML), with pictures."""
        return self._transport.send(_report(self.id))

    def cancel(self) -> Evaluation:
        return self._renew(self._transport.send(_cancel(self.id)))


class Evaluations:
    """`client.evaluations`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        model: str,
        facts: Iterable[FactInput] | None = None,
        facts_of: str | None = None,
        sample: int | None = None,
        seed: int | None = None,
        metrics: Sequence[str] | None = None,
        compare_with: str | Sequence[str] | None = None,
        judge: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Evaluation:
        """Have `model` (NAME, NAME@v3, NAME@alias) measured on `facts`, or on those in force in a lineage.

        `facts_of` is that lineage's version, of whose facts `sample` are drawn with `seed`. Drift alone needs neither.
        `compare_with` is a version or alias of the same model, or several: all are measured on the same facts.
        `judge` sends facts and answers to the judge that the server's operator configured.
        """
        if facts is not None and facts_of is not None:
            raise ConfigurationError("both facts and facts_of say what to measure on; give one of them")
        body = {
            "model": model,
            "facts": None if facts is None else written(facts),
            "facts_of": facts_of,
            "sample": sample,
            "seed": seed,
            "metrics": None if metrics is None else list(metrics),
            "compare_with": compare_with if compare_with is None or isinstance(compare_with, str) else [*compare_with],
            "judge": judge,
        }
        call = Call(
            "POST",
            "/v1/evaluations",
            reading(Evaluation),
            body=body,
            headers=creation_headers(idempotency_key),
        )
        return self._sent(call)

    def run(
        self,
        *,
        model: str,
        facts: Iterable[FactInput] | None = None,
        facts_of: str | None = None,
        sample: int | None = None,
        seed: int | None = None,
        metrics: Sequence[str] | None = None,
        compare_with: str | Sequence[str] | None = None,
        judge: bool | None = None,
        on_progress: OnProgress = None,
        timeout: float | None = None,
    ) -> Evaluation:
        """`create`, and wait for the end."""
        evaluation = self.create(
            model=model,
            facts=facts,
            facts_of=facts_of,
            sample=sample,
            seed=seed,
            metrics=metrics,
            compare_with=compare_with,
            judge=judge,
        )
        return evaluation.wait(on_progress=on_progress, timeout=timeout)

    def get(self, evaluation_id: str) -> Evaluation:
        return self._sent(Call("GET", _JOB, reading(Evaluation), path={"evaluation_id": evaluation_id}))

    def list(self, *, model: str | None = None, page_size: int | None = None) -> Listing[EvaluationData]:
        """Evaluations, newest first, without rows."""
        query = {"model": model, "limit": page_size}
        return Listing(self._transport, Call("GET", "/v1/evaluations", page_reader(EvaluationData), query=query))

    def rows(self, evaluation_id: str, *, page_size: int | None = None) -> Listing[EvaluationRow]:
        return _rows(self._transport, evaluation_id, page_size)

    def report(self, evaluation_id: str) -> str:
        return self._transport.send(_report(evaluation_id))

    def cancel(self, evaluation_id: str) -> EvaluationData:
        return self._transport.send(_cancel(evaluation_id))

    def _sent(self, call: Call[Evaluation]) -> Evaluation:
        return (self._transport.send(call))._bound(self._transport)


def _rows(transport: Transport, evaluation_id: str, page_size: int | None) -> Listing[EvaluationRow]:
    path = {"evaluation_id": evaluation_id}
    call = Call("GET", _JOB, page_reader(EvaluationRow, "facts"), path=path, query={"limit": page_size})
    return Listing(transport, call)


def _report(evaluation_id: str) -> Call[str]:
    return Call("GET", f"{_JOB}/report", text, path={"evaluation_id": evaluation_id}, headers={"Accept": "text/html"})


def _cancel(evaluation_id: str) -> Call[EvaluationData]:
    return Call("POST", f"{_JOB}/cancel", reading(EvaluationData), path={"evaluation_id": evaluation_id})
