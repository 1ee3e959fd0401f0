# Made by client/unasync.py from statistics.py of _async: change that one, and run it.
"""`client.statistics` and `client.corpora`: C0 made ahead of time, and what it is made from."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import PrivateAttr

from emmetd_client._calls import Call, creation_headers, reading
from emmetd_client._progress import OnProgress
from emmetd_client._sync.jobs import awaited
from emmetd_client._sync.listing import Listing, page_reader
from emmetd_client._sync.transport import Transport
from emmetd_client.models.statistics import Corpus, StatisticData

_JOB = "/v1/statistics/{statistic_id}"


class Statistic(StatisticData):
    """A statistic that can be asked how it is. Its fields are as they were last seen."""

    _transport: Transport = PrivateAttr()

    def _bound(self, transport: Transport) -> Statistic:
        self._transport = transport
        return self

    def _renew(self, seen: StatisticData) -> Statistic:
        for name in type(seen).model_fields:
            setattr(self, name, getattr(seen, name))
        return self

    def refresh(self) -> Statistic:
        call = Call("GET", _JOB, reading(StatisticData), path={"statistic_id": self.id})
        return self._renew(self._transport.send(call))

    def wait(self, *, on_progress: OnProgress = None, timeout: float | None = None, check: bool = True) -> Statistic:
        """Wait for its end; as `wait` of an edit."""
        seen = StatisticData.model_validate(self.model_dump(by_alias=True))
        path = {"statistic_id": self.id}
        self._renew(awaited(self._transport, seen, _JOB, path, on_progress, timeout))
        if check:
            self.raise_unless_succeeded()
        return self

    def cancel(self) -> Statistic:
        return self._renew(self._transport.send(_cancel(self.id)))


class Statistics:
    """`client.statistics`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        model: str,
        layers: Sequence[int] | None = None,
        corpus: str | None = None,
        tokens: int | None = None,
        idempotency_key: str | None = None,
    ) -> Statistic:
        """Have C0 of some layers made. What is left out is what edits use; what is there is not made again."""
        body = {
            "model": model,
            "layers": None if layers is None else list(layers),
            "corpus": corpus,
            "tokens": tokens,
        }
        headers = creation_headers(idempotency_key)
        call = Call("POST", "/v1/statistics", reading(Statistic), body=body, headers=headers)
        return self._sent(call)

    def get(self, statistic_id: str) -> Statistic:
        return self._sent(Call("GET", _JOB, reading(Statistic), path={"statistic_id": statistic_id}))

    def list(self, *, model: str | None = None, page_size: int | None = None) -> Listing[StatisticData]:
        """Newest first."""
        query = {"model": model, "limit": page_size}
        return Listing(self._transport, Call("GET", "/v1/statistics", page_reader(StatisticData), query=query))

    def cancel(self, statistic_id: str) -> StatisticData:
        return self._transport.send(_cancel(statistic_id))

    def _sent(self, call: Call[Statistic]) -> Statistic:
        return (self._transport.send(call))._bound(self._transport)


class Corpora:
    """`client.corpora`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Listing[Corpus]:
        return Listing(self._transport, Call("GET", "/v1/corpora", page_reader(Corpus)))


def _cancel(statistic_id: str) -> Call[StatisticData]:
    return Call("POST", f"{_JOB}/cancel", reading(StatisticData), path={"statistic_id": statistic_id})
