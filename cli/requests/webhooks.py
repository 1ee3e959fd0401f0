"""`emmetd webhooks`: who is told of what happens, and what became of each delivery."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.terminal.errors import ServerSaidNoError
from cli.terminal.exit_codes import ExitCode
from cli.terminal.served import AsJson, Key, Url, connected, show_json, show_table

if TYPE_CHECKING:
    from emmetd_client import Emmetd
    from emmetd_client.models.webhooks import Webhook, WebhookDelivery

webhooks = typer.Typer(
    name="webhooks", help="Have a receiver told of what happens, by signed messages.", no_args_is_help=True
)

_Id = Annotated[str, typer.Argument(metavar="ID", help="Such as wh_01kah3v0d5m8.", show_default=False)]
_LOOK_EVERY_SECONDS: Final = 0.5
_TEST_SECONDS: Final = 90.0
"""Longer than a receiver may take, by any setting."""


@webhooks.command()
def create(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="https://… of the receiver.", show_default=False)],
    events: Annotated[
        list[str],
        typer.Option(
            "--event",
            metavar="TYPE",
            help="edit.finished, version.published, alias.moved or line.worn; may be repeated.",
            show_default="all",
        ),
    ] = [],  # noqa: B006 - typer copies it
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Only what happens to it.", show_default="all")
    ] = None,
    description: Annotated[str | None, typer.Option("--description", help="A note beside it.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Register a receiver. The secret that it checks signatures with is shown this once.

    \b
    Example:
      emmetd webhooks create https://example.org/emmetd --event version.published --model smollm2-135m
    """
    with connected(url, key) as client:
        made = client.webhooks.create(address, events=events or None, model=model, description=description)
    _tell_secret(made, as_json)


@webhooks.command("list")
def list_(as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """List receivers and whether they are reached.

    \b
    Example:
      emmetd webhooks list
    """
    with connected(url, key) as client:
        found = client.webhooks.list().to_list()
    if as_json:
        for one in found:
            show_json(one)
        return
    from emmetd_client import Table

    rows = [
        (one.id, one.state, one.url, ", ".join(one.events), one.model or "all", str(one.waiting), one.last_error or "")
        for one in found
    ]
    show_table(Table(("id", "state", "address", "events", "model", "waiting", "last error"), rows))


@webhooks.command()
def log(
    webhook_id: _Id,
    state: Annotated[
        str | None,
        typer.Option("--state", help="pending, delivered, given_up or dropped.", show_default="all"),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Entries, at most.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """List what a receiver was told, newest first.

    \b
    Example:
      emmetd webhooks log wh_01kah3v0d5m8 --state pending
    """
    with connected(url, key) as client:
        found = client.webhooks.deliveries(webhook_id, state=state, page_size=min(limit, 1000)).to_list(limit)
    if as_json:
        for one in found:
            show_json(one)
        return
    from emmetd_client import Table

    rows = [
        (
            _moment(one.created_at),
            one.type,
            one.model or "",
            one.state,
            str(one.attempts),
            one.error or (str(one.status) if one.status else ""),
            one.message,
        )
        for one in found
    ]
    show_table(Table(("at", "event", "model", "state", "attempts", "answer", "webhook-id"), rows))


@webhooks.command("test")
def send_test(webhook_id: _Id, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Send a receiver a test, and tell what came of it.

    \b
    Example:
      emmetd webhooks test wh_01kah3v0d5m8
    """
    with connected(url, key) as client:
        came = _ended(client, webhook_id, client.webhooks.test(webhook_id).message)
    if as_json:
        show_json(came)
    elif came.state == "delivered":
        typer.echo(f"{webhook_id} took the test: {came.status}")
    if came.state != "delivered":
        raise ServerSaidNoError(f"{webhook_id} did not take the test: {came.error or came.state}", ExitCode.FAILED)


@webhooks.command()
def pause(webhook_id: _Id, url: Url = None, key: Key = None) -> None:
    """Send a receiver nothing until it is resumed; what happens meanwhile waits.

    \b
    Example:
      emmetd webhooks pause wh_01kah3v0d5m8
    """
    with connected(url, key) as client:
        told = client.webhooks.update(webhook_id, paused=True)
    typer.echo(f"{told.id} is {told.state}")


@webhooks.command()
def resume(webhook_id: _Id, url: Url = None, key: Key = None) -> None:
    """Send a receiver again what happens, and first what has waited.

    \b
    Example:
      emmetd webhooks resume wh_01kah3v0d5m8
    """
    with connected(url, key) as client:
        told = client.webhooks.update(webhook_id, paused=False)
    typer.echo(f"{told.id} is {told.state}; {told.waiting} deliveries wait")


@webhooks.command()
def rotate(webhook_id: _Id, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Give a receiver a new secret, shown this once. For 24 hours the one before it signs too.

    \b
    Example:
      emmetd webhooks rotate wh_01kah3v0d5m8
    """
    with connected(url, key) as client:
        _tell_secret(client.webhooks.rotate(webhook_id), as_json)


@webhooks.command()
def delete(webhook_id: _Id, url: Url = None, key: Key = None) -> None:
    """Delete a receiver with its log.

    \b
    Example:
      emmetd webhooks delete wh_01kah3v0d5m8
    """
    with connected(url, key) as client:
        client.webhooks.delete(webhook_id)
    typer.echo(f"{webhook_id} is deleted")


def _tell_secret(made: Webhook, as_json: bool) -> None:
    if as_json:
        show_json(made)
        return
    typer.echo(f"{made.id}: {', '.join(made.events)} of {made.model or 'all models'}")
    typer.echo(f"secret, shown this once: {made.secret}")


def _ended(client: Emmetd, webhook_id: str, message: str) -> WebhookDelivery:
    """The entry of the log once it was tried, or as it is when that takes too long."""
    deadline = time.monotonic() + _TEST_SECONDS
    while True:
        for one in client.webhooks.deliveries(webhook_id):
            if one.message == message:
                if one.state != "pending" or time.monotonic() > deadline:
                    return one
                break
        time.sleep(_LOOK_EVERY_SECONDS)


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else ""
