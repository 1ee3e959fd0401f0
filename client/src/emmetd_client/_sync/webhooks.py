# Made by client/unasync.py from webhooks.py of _async: change that one, and run it.
"""`client.webhooks`: who is told of what happens. It needs the scope admin."""

from __future__ import annotations

from collections.abc import Sequence

from emmetd_client._calls import Call, Repeat, nothing, reading
from emmetd_client._sync.listing import Listing, page_reader
from emmetd_client._sync.transport import Transport
from emmetd_client.models.webhooks import Webhook, WebhookDelivery

_ALL = "/v1/webhooks"
_ONE = "/v1/webhooks/{webhook_id}"


class Webhooks:
    """`client.webhooks`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        url: str,
        *,
        events: Sequence[str] | None = None,
        model: str | None = None,
        description: str | None = None,
    ) -> Webhook:
        """Register a receiver of `events` (all of them by default), of `model` alone where it is named.

        The answer's `secret` is told this once: the receiver checks signatures with it.
        """
        body = {
            "url": url,
            "events": None if events is None else list(events),
            "model": model,
            "description": description,
        }
        # Twice would be two receivers.
        return self._transport.send(Call("POST", _ALL, reading(Webhook), body=body, repeat=Repeat.REFUSED))

    def list(self, *, page_size: int | None = None) -> Listing[Webhook]:
        """Receivers, oldest first."""
        return Listing(self._transport, Call("GET", _ALL, page_reader(Webhook), query={"limit": page_size}))

    def get(self, webhook_id: str) -> Webhook:
        return self._transport.send(Call("GET", _ONE, reading(Webhook), path=_path(webhook_id)))

    def update(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        paused: bool | None = None,
    ) -> Webhook:
        """Change a receiver; `paused=False` sends it what has waited."""
        body = {
            "url": url,
            "events": None if events is None else list(events),
            "description": description,
            "paused": paused,
        }
        return self._transport.send(Call("PATCH", _ONE, reading(Webhook), path=_path(webhook_id), body=body))

    def delete(self, webhook_id: str) -> None:
        """With its log; what has waited for it is not sent."""
        self._transport.send(Call("DELETE", _ONE, nothing, path=_path(webhook_id)))

    def rotate(self, webhook_id: str) -> Webhook:
        """A new secret, in the answer. The one before it signs too for 24 hours."""
        call = Call("POST", f"{_ONE}/rotate", reading(Webhook), path=_path(webhook_id), repeat=Repeat.REFUSED)
        return self._transport.send(call)

    def test(self, webhook_id: str) -> WebhookDelivery:
        """Send it a message of type `webhook.test`, at once and once; `deliveries` tells what came of it."""
        call = Call("POST", f"{_ONE}/test", reading(WebhookDelivery), path=_path(webhook_id), repeat=Repeat.REFUSED)
        return self._transport.send(call)

    def deliveries(
        self, webhook_id: str, *, state: str | None = None, page_size: int | None = None
    ) -> Listing[WebhookDelivery]:
        """What it was told, newest first; `state` is pending, delivered, given_up or dropped."""
        query = {"state": state, "limit": page_size}
        call = Call("GET", f"{_ONE}/deliveries", page_reader(WebhookDelivery), path=_path(webhook_id), query=query)
        return Listing(self._transport, call)


def _path(webhook_id: str) -> dict[str, str]:
    return {"webhook_id": webhook_id}
