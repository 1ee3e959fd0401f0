# Made by client/unasync.py from edits.py of _async: change that one, and run it.
"""`client.edits`: submit batches of fact edits, watch them, stop them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx
from pydantic import PrivateAttr

from emmetd_client._answers import problem_error
from emmetd_client._calls import Call, creation_headers, nothing, reading
from emmetd_client._facts import FactInput, written
from emmetd_client._pausing import pause_for
from emmetd_client._progress import OnProgress
from emmetd_client._retrying import failure_of
from emmetd_client._server_sent_events import EVENT_STREAM, EventDecoder, ServerSentEvent
from emmetd_client._sync.jobs import awaited
from emmetd_client._sync.listing import Listing, page_reader
from emmetd_client._sync.transport import Transport
from emmetd_client.errors import UnexpectedAnswerError
from emmetd_client.models.edits import EditData, EditEvent, EditProgress, LeftOutFact
from emmetd_client.models.facts import KeptFact
from emmetd_client.models.jobs import FINAL_STATES

_JOB = "/v1/edits/{edit_id}"

Event = EditEvent | EditProgress


class Edit(EditData):
    """An edit batch that can be asked how it is. Its fields are as last seen; `wait` and `refresh` renew them."""

    _transport: Transport = PrivateAttr()

    def _bound(self, transport: Transport) -> Edit:
        self._transport = transport
        return self

    def _renew(self, seen: EditData) -> Edit:
        for name in type(seen).model_fields:
            setattr(self, name, getattr(seen, name))
        return self

    def refresh(self) -> Edit:
        """Ask how it is."""
        call = Call("GET", _JOB, reading(EditData), path={"edit_id": self.id})
        return self._renew(self._transport.send(call))

    def wait(self, *, on_progress: OnProgress = None, timeout: float | None = None, check: bool = True) -> Edit:
        """Wait for its end. `on_progress` is called with each `Progress`; True shows a bar.

        Raises WaitTimedOutError after `timeout` seconds, the batch going on; and, unless `check` is False,
        JobRejectedError, JobFailedError or JobCancelledError for one that ended without a version.
        """
        seen = EditData.model_validate(self.model_dump(by_alias=True))
        path = {"edit_id": self.id}
        self._renew(awaited(self._transport, seen, _JOB, path, on_progress, timeout))
        if check:
            self.raise_unless_succeeded()
        return self

    def events(self, *, after: int | None = None) -> Iterator[Event]:
        """Everything that happens to it, from its acceptance (or the event `after`) to its end.

        A stream that breaks is opened again after the last event that came.
        """
        for event in follow(self._transport, self.id, after):
            yield event

    def facts(self, *, page_size: int | None = None) -> Listing[KeptFact]:
        """Its facts, in the order in which they were sent."""
        return facts_of(self._transport, self.id, page_size)

    def left_out(self, *, page_size: int | None = None) -> Listing[LeftOutFact]:
        """What was sent and is not edited, with what is wrong with it."""
        return left_out_of(self._transport, self.id, page_size)

    def cancel(self) -> Edit:
        """What waits is cancelled at once; what runs stops at its next step."""
        return self._renew(self._transport.send(_cancel(self.id)))


class Edits:
    """`client.edits`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        model: str,
        facts: Iterable[FactInput],
        algorithm: str | None = None,
        settings: Mapping[str, Any] | None = None,
        invalid_facts: str | None = None,
        label: str | None = None,
        thresholds: Mapping[str, float] | None = None,
        budget: Mapping[str, float] | None = None,
        dry_run: bool | None = None,
        urgent: bool | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> Edit:
        """Submit a batch: all facts become one version of `model`, or none does.

        `model` is NAME or NAME@alias (the batch joins that alias's line) or NAME@v3 (a branch). `thresholds` are on
        what this batch changes, `budget` ({"drift": 1.2}) on what its lineage has used up. `if_match` is the only
        version that it may be made on. With `invalid_facts="skip"` facts with something wrong are left out, and
        listed by `left_out`. It is submitted once, however often the request has to be sent.
        """
        body = {
            "model": model,
            "facts": written(facts),
            "algorithm": algorithm,
            "settings": settings,
            "invalid_facts": invalid_facts,
            "label": label,
            "thresholds": thresholds,
            "budget": budget,
            "dry_run": dry_run,
            "urgent": urgent,
        }
        headers = creation_headers(idempotency_key, if_match)
        return self._sent(Call("POST", "/v1/edits", reading(Edit), body=body, headers=headers))

    def get(self, edit_id: str) -> Edit:
        return self._sent(Call("GET", _JOB, reading(Edit), path={"edit_id": edit_id}))

    def list(self, *, model: str | None = None, page_size: int | None = None) -> Listing[EditData]:
        """Batches, newest first; only those of `model` (NAME) where it is given."""
        query = {"model": model, "limit": page_size}
        return Listing(self._transport, Call("GET", "/v1/edits", page_reader(EditData), query=query))

    def facts(self, edit_id: str, *, page_size: int | None = None) -> Listing[KeptFact]:
        return facts_of(self._transport, edit_id, page_size)

    def left_out(self, edit_id: str, *, page_size: int | None = None) -> Listing[LeftOutFact]:
        """As `left_out` of the job."""
        return left_out_of(self._transport, edit_id, page_size)

    def cancel(self, edit_id: str) -> EditData:
        return self._transport.send(_cancel(edit_id))

    def events(self, edit_id: str, *, after: int | None = None) -> Iterator[Event]:
        """As `events` of the job."""
        for event in follow(self._transport, edit_id, after):
            yield event

    def _sent(self, call: Call[Edit]) -> Edit:
        return (self._transport.send(call))._bound(self._transport)


def _cancel(edit_id: str) -> Call[EditData]:
    return Call("POST", f"{_JOB}/cancel", reading(EditData), path={"edit_id": edit_id})


def facts_of(transport: Transport, edit_id: str, page_size: int | None) -> Listing[KeptFact]:
    call = Call("GET", f"{_JOB}/facts", page_reader(KeptFact), path={"edit_id": edit_id}, query={"limit": page_size})
    return Listing(transport, call)


def left_out_of(transport: Transport, edit_id: str, page_size: int | None) -> Listing[LeftOutFact]:
    query = {"limit": page_size}
    call = Call("GET", f"{_JOB}/left-out", page_reader(LeftOutFact), path={"edit_id": edit_id}, query=query)
    return Listing(transport, call)


def follow(transport: Transport, edit_id: str, after: int | None) -> Iterator[Event]:
    """Events of a batch up to its end, over as many connections as that takes."""
    decoder = EventDecoder(None if after is None else str(after))
    failures = 0
    while True:
        headers = {} if decoder.last_id is None else {"Last-Event-ID": decoder.last_id}
        call = Call("GET", f"{_JOB}/events", nothing, path={"edit_id": edit_id}, headers=headers)
        broken: httpx.TransportError | None = None
        try:
            with transport.opened(call, EVENT_STREAM) as response:
                if response.status_code == 204:
                    return
                for piece in response.iter_bytes():
                    for one in decoder.feed(piece):
                        event = _event(one, response.headers)
                        if event is None:
                            continue
                        failures = 0
                        yield event
                        if isinstance(event, EditEvent) and event.state in FINAL_STATES:
                            return
        except httpx.TransportError as failure:
            broken = failure
        except ValueError as error:
            raise UnexpectedAnswerError(f"the events of {edit_id} cannot be read: {error}") from error
        pause = transport.configuration.retrying.pause(failures, decoder.retry_seconds)
        failures += 1
        if pause is None:
            cause = broken or httpx.RemoteProtocolError("the stream of events ends again and again")
            raise failure_of(cause, transport.configuration.base_url) from cause
        # What was cut off within an event is no part of the next stream.
        decoder = EventDecoder(decoder.last_id)
        pause_for(pause)


def _event(one: ServerSentEvent, headers: Mapping[str, str]) -> Event | None:
    if one.name == "progress":
        return EditProgress.model_validate_json(one.data)
    if one.name == "error":
        raise problem_error(json.loads(one.data), headers)
    # An event without an id is of a kind that this release does not know.
    return EditEvent.model_validate_json(one.data) if one.id is not None else None
