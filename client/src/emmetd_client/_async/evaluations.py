"""`client.evaluations`: measure any version on facts, beside another one where asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import PrivateAttr

from emmetd_client._async.jobs import awaited
from emmetd_client._async.listing import AsyncListing, page_reader
from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call, creation_headers, reading, text
from emmetd_client._facts import FactInput, written
from emmetd_client._progress import OnProgress
from emmetd_client.errors import ConfigurationError
from emmetd_client.models.evaluations import EvaluationData, EvaluationRow

_JOB = "/v1/evaluations/{evaluation_id}"


class AsyncEvaluation(EvaluationData):
    """An evaluation that can be asked how it is. Its fields are as they were last seen."""

    _transport: AsyncTransport = PrivateAttr()

    def _bound(self, transport: AsyncTransport) -> AsyncEvaluation:
        self._transport = transport
        return self

    def _renew(self, seen: EvaluationData) -> AsyncEvaluation:
        for name in type(seen).model_fields:
            setattr(self, name, getattr(seen, name))
        return self

    async def refresh(self) -> AsyncEvaluation:
        call = Call("GET", _JOB, reading(EvaluationData), path={"evaluation_id": self.id})
        return self._renew(await self._transport.send(call))

    async def wait(
        self, *, on_progress: OnProgress = None, timeout: float | None = None, check: bool = True
    ) -> AsyncEvaluation:
        """Wait for its end; as `wait` of an edit."""
        seen = EvaluationData.model_validate(self.model_dump(by_alias=True))
        path = {"evaluation_id": self.id}
        self._renew(await awaited(self._transport, seen, _JOB, path, on_progress, timeout))
        if check:
            self.raise_unless_succeeded()
        return self

    def rows(self, *, page_size: int | None = None) -> AsyncListing[EvaluationRow]:
        """A row for each fact, as far as it has been measured."""
        return _rows(self._transport, self.id, page_size)

    async def report(self) -> str:
        """A page to read (HTML), with pictures."""
        return await self._transport.send(_report(self.id))

    async def cancel(self) -> AsyncEvaluation:
        return self._renew(await self._transport.send(_cancel(self.id)))


class AsyncEvaluations:
    """`client.evaluations`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
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
    ) -> AsyncEvaluation:
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
            reading(AsyncEvaluation),
            body=body,
            headers=creation_headers(idempotency_key),
        )
        return await self._sent(call)

    async def run(
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
    ) -> AsyncEvaluation:
        """`create`, and wait for the end."""
        evaluation = await self.create(
            model=model,
            facts=facts,
            facts_of=facts_of,
            sample=sample,
            seed=seed,
            metrics=metrics,
            compare_with=compare_with,
            judge=judge,
        )
        return await evaluation.wait(on_progress=on_progress, timeout=timeout)

    async def get(self, evaluation_id: str) -> AsyncEvaluation:
        return await self._sent(Call("GET", _JOB, reading(AsyncEvaluation), path={"evaluation_id": evaluation_id}))

    def list(self, *, model: str | None = None, page_size: int | None = None) -> AsyncListing[EvaluationData]:
        """Evaluations, newest first, without rows."""
        query = {"model": model, "limit": page_size}
        return AsyncListing(self._transport, Call("GET", "/v1/evaluations", page_reader(EvaluationData), query=query))

    def rows(self, evaluation_id: str, *, page_size: int | None = None) -> AsyncListing[EvaluationRow]:
        return _rows(self._transport, evaluation_id, page_size)

    async def report(self, evaluation_id: str) -> str:
        return await self._transport.send(_report(evaluation_id))

    async def cancel(self, evaluation_id: str) -> EvaluationData:
        return await self._transport.send(_cancel(evaluation_id))

    async def _sent(self, call: Call[AsyncEvaluation]) -> AsyncEvaluation:
        return (await self._transport.send(call))._bound(self._transport)


def _rows(transport: AsyncTransport, evaluation_id: str, page_size: int | None) -> AsyncListing[EvaluationRow]:
    path = {"evaluation_id": evaluation_id}
    call = Call("GET", _JOB, page_reader(EvaluationRow, "facts"), path=path, query={"limit": page_size})
    return AsyncListing(transport, call)


def _report(evaluation_id: str) -> Call[str]:
    return Call("GET", f"{_JOB}/report", text, path={"evaluation_id": evaluation_id}, headers={"Accept": "text/html"})


def _cancel(evaluation_id: str) -> Call[EvaluationData]:
    return Call("POST", f"{_JOB}/cancel", reading(EvaluationData), path={"evaluation_id": evaluation_id})
