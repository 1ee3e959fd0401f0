# Made by client/unasync.py from transport.py of _async: change that one, and run it.
"""Sends calls, again where that is safe, and reads what comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from emmetd_client._answers import Answer, error_of
from emmetd_client._calls import Call, given
from emmetd_client._configuration import CLIENT_VERSION, MOST_BYTES, Configuration, timeouts
from emmetd_client._pausing import pause_for
from emmetd_client._retrying import failure_of, repeats_after_failure, repeats_after_status
from emmetd_client._server import ServerInfo, may_be_missing, not_offered, server_info
from emmetd_client.errors import APIError, EmmetdError, UnexpectedAnswerError

T = TypeVar("T")


class Transport:
    """One connection pool, one configuration. What it raises is in `errors`."""

    def __init__(self, configuration: Configuration, http: httpx.Client) -> None:
        self.configuration = configuration
        self._http = http
        self._server: ServerInfo | None = None

    def close(self) -> None:
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """What `call` reads out of the answer."""
        answer = self.answer(call)
        try:
            return call.read(answer)
        except ValueError as error:
            raise UnexpectedAnswerError(self._unreadable(call, error)) from error

    def answer(self, call: Call[Any]) -> Answer:
        """The whole answer, below 400."""
        attempt = 0
        while True:
            pause = None
            try:
                answer = self._once(call)
            except httpx.TransportError as failure:
                if repeats_after_failure(call.repeat, failure):
                    pause = self.configuration.retrying.pause(attempt)
                if pause is None:
                    raise failure_of(failure, self.configuration.base_url) from failure
            else:
                if 300 <= answer.status < 400:
                    raise self._redirected(answer)
                if answer.status < 400 or (call.method == "DELETE" and attempt > 0 and answer.status == 404):
                    return answer  # what an attempt whose answer was lost deleted is gone
                if repeats_after_status(call.repeat, answer.status):
                    pause = self.configuration.retrying.pause(attempt, answer.retry_after)
                if pause is None:
                    raise self.explained(call, error_of(answer))
            pause_for(pause)
            attempt += 1

    @contextmanager
    def opened(self, call: Call[Any], accept: str) -> Iterator[httpx.Response]:
        """The answer to `call` while its body still comes; it was accepted, after repeats where that is safe.

        Raises httpx.TransportError where the body breaks off: only the caller knows what it has of it.
        """
        attempt = 0
        while True:
            pause = None
            request = self._request(call, {"Accept": accept})
            try:
                response = self._http.send(request, stream=True)
                answer = None if response.status_code < 400 else self._whole(response, call)
            except httpx.TransportError as failure:
                if repeats_after_failure(call.repeat, failure):
                    pause = self.configuration.retrying.pause(attempt)
                if pause is None:
                    raise failure_of(failure, self.configuration.base_url) from failure
            else:
                if answer is None:
                    break
                if repeats_after_status(call.repeat, answer.status):
                    pause = self.configuration.retrying.pause(attempt, answer.retry_after)
                if pause is None:
                    raise self.explained(call, error_of(answer))
            pause_for(pause)
            attempt += 1
        try:
            yield response
        finally:
            response.close()

    def server(self) -> ServerInfo:
        """The server's release and what it offers; asked once."""
        if self._server is None:
            call = Call("GET", "/openapi.json", lambda answer: server_info(answer.json()))
            try:
                self._server = call.read(self.answer(call))
            except ValueError as error:
                url = self.configuration.base_url
                raise UnexpectedAnswerError(f"what answers at {url} is no emmetd: {error}; check EMMETD_URL") from error
        return self._server

    def explained(self, call: Call[Any], error: APIError) -> EmmetdError:
        """`error`, or that the server's release is without what was asked of it."""
        if call.template == "/openapi.json" or not may_be_missing(error):
            return error
        try:
            server = self.server()
        except EmmetdError:
            return error
        return not_offered(call, error, server, self.configuration.base_url) or error

    def _once(self, call: Call[Any]) -> Answer:
        return self._whole(self._http.send(self._request(call, {}), stream=True), call)

    def _whole(self, response: httpx.Response, call: Call[Any]) -> Answer:
        """httpx limits each read; this limits the answer, however slowly and in however many pieces it comes."""
        until = time.monotonic() + self.configuration.timeout + call.held_seconds
        content = bytearray()
        try:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MOST_BYTES:
                    raise UnexpectedAnswerError(f"the answer to {call.operation} is larger than {MOST_BYTES} bytes")
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("the body comes too slowly", request=response.request)
        finally:
            response.close()
        return Answer(response.status_code, dict(response.headers.items()), bytes(content))

    def _request(self, call: Call[Any], headers: dict[str, str]) -> httpx.Request:
        try:
            return self._http.build_request(
                call.method,
                self.configuration.base_url + call.url,
                params=call.parameters or None,
                json=None if call.body is None else given(call.body),
                headers={**self.configuration.headers, **headers, **call.headers},
                timeout=timeouts(self.configuration.timeout + call.held_seconds),
            )
        except (TypeError, ValueError) as error:
            raise EmmetdError(f"{call.operation} cannot be written as JSON: {error}; send text and numbers") from error

    def _redirected(self, answer: Answer) -> UnexpectedAnswerError:
        to, url = answer.headers.get("location", "elsewhere"), self.configuration.base_url
        return UnexpectedAnswerError(
            f"{url} redirects to {to}, where no key is sent; set EMMETD_URL to the right address"
        )

    def _unreadable(self, call: Call[Any], error: ValueError) -> str:
        try:
            version = (self.server()).version
        except EmmetdError:
            version = "of an unknown release"
        reason = " ".join(str(error).split())[:300]
        return (
            f"the answer to {call.operation} cannot be read by emmetd-client {CLIENT_VERSION}; the server is emmetd "
            f"{version}: install the client of that release ({reason})"
        )
