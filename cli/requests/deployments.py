"""`emmetd deploy` and `emmetd deployments`: versions that engines elsewhere serve."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.terminal.errors import CliError
from cli.terminal.exit_codes import ExitCode
from cli.terminal.served import AsJson, Key, Reference, Timeout, Url, Wait, connected, show_json, show_table

if TYPE_CHECKING:
    from emmetd_client import Deployment, Emmetd

KEY_VARIABLE: Final = "EMMETD_TARGET_KEY"
_LOOK_SECONDS: Final = 0.5
_ENDED: Final = ("deployed", "rolled_back", "refused", "written")

deployments = typer.Typer(
    name="deployments", help="Engines elsewhere that serve versions and follow aliases.", no_args_is_help=True
)

_Id = Annotated[str, typer.Argument(metavar="ID", help="As `emmetd deployments list` shows it.", show_default=False)]


def deploy(
    reference: Reference,
    to: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="Such as vllm+http://host:8000.", show_default=False)
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="What the engine's users call it.", show_default="NAME@alias")
    ] = None,
    format: Annotated[str | None, typer.Option("--format", help="auto, peft or hf.", show_default="auto")] = None,
    folder: Annotated[
        str | None,
        typer.Option(
            "--folder", metavar="PATH", help="The server's deployment folder as the engine sees it.", show_default=False
        ),
    ] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Have a running vLLM serve a version, and follow its alias from then on.

    The engine's own API key, where it has one, is read from EMMETD_TARGET_KEY.

    \b
    Examples:
      emmetd deploy smollm2-135m@production --to vllm+http://10.0.0.5:8000 --wait
      emmetd deploy smollm2-135m@v3 --to vllm+http://10.0.0.5:8000 --name tried
    """
    target_key = os.environ.get(KEY_VARIABLE) or None
    with connected(url, key) as client:
        found = client.deployments.create(
            model=reference, target=to, name=name, format=format, folder=folder, key=target_key
        )
        if wait:
            found = _awaited(client, found, timeout)
    _show(found, as_json)
    if wait and not found.is_in_step:
        raise typer.Exit(ExitCode.REJECTED if found.state == "rolled_back" else ExitCode.FAILED)


@deployments.command("list")
def list_(
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Only those of this model.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """List deployments, newest first.

    \b
    Example:
      emmetd deployments list
    """
    with connected(url, key) as client:
        found = client.deployments.list(model=model).to_list()
    if as_json:
        for one in found:
            show_json(one)
        return
    from emmetd_client import Table

    rows = [
        (one.id, one.model, one.target, one.name, one.state, one.actual or "", one.desired or "", _lag(one))
        for one in found
    ]
    show_table(Table(("deployment", "follows", "target", "as", "state", "serves", "shall serve", "behind for"), rows))


@deployments.command()
def show(
    deployment: _Id,
    events: Annotated[int, typer.Option("--events", min=0, metavar="N", help="Newest events, at most.")] = 10,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show a deployment, what was found there, and how it came to its state.

    \b
    Example:
      emmetd deployments show dep_01kb0c2m5v7n
    """
    with connected(url, key) as client:
        found = client.deployments.get(deployment)
        happened = client.deployments.events(deployment).to_list(events) if events else []
    _show(found, as_json)
    if as_json:
        for event in happened:
            show_json(event)
        return
    from emmetd_client import Table

    rows = [
        (f"{event.at:%Y-%m-%d %H:%M:%S}" if event.at else "", event.state, event.version or "", event.detail or "")
        for event in happened
    ]
    show_table(Table(("at", "state", "version", ""), rows))


@deployments.command()
def remove(deployment: _Id, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """End a deployment; the engine is told to serve its adapter no more.

    \b
    Example:
      emmetd deployments remove dep_01kb0c2m5v7n
    """
    with connected(url, key) as client:
        found = client.deployments.remove(deployment)
    if as_json:
        show_json(found)
    else:
        typer.echo(f"{found.id} is removed" + ("" if found.unloaded else "; what the engine has loaded stays there"))


def _awaited(client: Emmetd, found: Deployment, timeout: float | None) -> Deployment:
    """As it is when it serves what it shall, or does not come to it without somebody's help."""
    began, told = time.monotonic(), ""
    while True:
        found = client.deployments.get(found.id)
        if found.state != told:
            typer.echo(f"{found.state} {found.desired or ''}".rstrip(), err=True)
            told = found.state
        if found.state in _ENDED:
            return found
        if timeout is not None and time.monotonic() - began > timeout:
            raise CliError(f"{found.id} is {found.state} after {timeout:g} s; it goes on: emmetd deployments show")
        time.sleep(_LOOK_SECONDS)


def _show(found: Deployment, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    from emmetd_client import Table

    check = found.last_check
    rows = [
        ("follows", found.model),
        ("target", found.target),
        ("served there as", found.name),
        ("serves", found.actual or "nothing yet"),
        ("shall serve", found.desired or ""),
        ("behind for", _lag(found)),
        ("files", found.path or ""),
    ]
    if check is not None:
        rows += [
            ("checked", f"{check.version}: {'passed' if check.passed else 'failed'}, {check.seconds:.1f} s"),
            ("facts said there", f"{check.said} of {check.facts}"),
            ("ordinary prompts", f"{check.equal} of {check.prompts} alike, {check.near_ties} part at near ties"),
        ]
    if found.error is not None:
        rows.append(("why", found.error.detail))
    show_table(Table(("", f"{found.id}: {found.state}"), rows))


def _lag(found: Deployment) -> str:
    return f"{found.lag_seconds:.0f} s" if found.lag_seconds else ""
