"""`client.statistics` and `client.corpora`: C0 made ahead of time, and what it is made from."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import PrivateAttr

from emmetd_client._async.jobs import awaited
from emmetd_client._async.listing import AsyncListing, page_reader
from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call, creation_headers, reading
from emmetd_client._progress import OnProgress
from emmetd_client.models.statistics import Corpus, StatisticData

_JOB = "/v1/statistics/{statistic_id}"


class AsyncStatistic(StatisticData):
    """A statistic that can be asked how it is. Its fields are as they were last seen."""

    _transport: AsyncTransport = PrivateAttr()

    def _bound(self, transport: AsyncTransport) -> AsyncStatistic:
        self._transport = transport
        return self

    def _renew(self, seen: StatisticData) -> AsyncStatistic:
        for name in type(seen).model_fields:
            setattr(self, name, getattr(seen, name))
        return self

    async def refresh(self) -> AsyncStatistic:
        call = Call("GET", _JOB, reading(StatisticData), path={"statistic_id": self.id})
        return self._renew(await self._transport.send(call))

    async def wait(
        self, *, on_progress: OnProgress = None, timeout: float | None = None, check: bool = True
    ) -> AsyncStatistic:
        """Wait for its end; as `wait` of an edit."""
        seen = StatisticData.model_validate(self.model_dump(by_alias=True))
        path = {"statistic_id": self.id}
        self._renew(await awaited(self._transport, seen, _JOB, path, on_progress, timeout))
        if check:
            self.raise_unless_succeeded()
        return self

    async def cancel(self) -> AsyncStatistic:
        return self._renew(await self._transport.send(_cancel(self.id)))


class AsyncStatistics:
    """`client.statistics`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        *,
        model: str,
        layers: Sequence[int] | None = None,
        corpus: str | None = None,
        tokens: int | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncStatistic:
        """Have C0 of some layers made. What is left out is what edits use; what is there is not made again."""
        body = {
            "model": model,
            "layers": None if layers is None else list(layers),
            "corpus": corpus,
            "tokens": tokens,
        }
        headers = creation_headers(idempotency_key)
        call = Call("POST", "/v1/statistics", reading(AsyncStatistic), body=body, headers=headers)
        return await self._sent(call)

    async def get(self, statistic_id: str) -> AsyncStatistic:
        return await self._sent(Call("GET", _JOB, reading(AsyncStatistic), path={"statistic_id": statistic_id}))

    def list(self, *, model: str | None = None, page_size: int | None = None) -> AsyncListing[StatisticData]:
        """Newest first."""
        query = {"model": model, "limit": page_size}
        return AsyncListing(self._transport, Call("GET", "/v1/statistics", page_reader(StatisticData), query=query))

    async def cancel(self, statistic_id: str) -> StatisticData:
        return await self._transport.send(_cancel(statistic_id))

    async def _sent(self, call: Call[AsyncStatistic]) -> AsyncStatistic:
        return (await self._transport.send(call))._bound(self._transport)


class AsyncCorpora:
    """`client.corpora`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self) -> AsyncListing[Corpus]:
        return AsyncListing(self._transport, Call("GET", "/v1/corpora", page_reader(Corpus)))


def _cancel(statistic_id: str) -> Call[StatisticData]:
    return Call("POST", f"{_JOB}/cancel", reading(StatisticData), path={"statistic_id": statistic_id})
