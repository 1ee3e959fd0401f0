"""`emmetd alias`: names that point at versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.terminal.errors import InputFileError
from cli.terminal.served import AsJson, Key, ModelArgument, Url, connected, show_json, show_table

if TYPE_CHECKING:
    from emmetd_client import AliasRequest

alias = typer.Typer(
    name="alias", help="Point names such as `latest` or `production` at versions.", no_args_is_help=True
)

_Request = Annotated[str, typer.Argument(metavar="ID", help="Such as move_01kah3v0d5m8.", show_default=False)]
_Reason = Annotated[str | None, typer.Option("--reason", help="Kept with the request and in the audit log.")]
_Alias = Annotated[str, typer.Argument(metavar="ALIAS", help="Such as latest or production.", show_default=False)]


@alias.command("list")
def list_(model: ModelArgument, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """List the aliases of a model.

    \b
    Example:
      emmetd alias list smollm2-135m
    """
    with connected(url, key) as client:
        found = client.aliases.list(model).to_list()
    if as_json:
        for one in found:
            show_json(one)
        return
    from emmetd_client import Table

    rows = [
        (
            one.alias,
            one.version,
            "needs approval" if one.approval else "protected" if one.protected else "",
            f"{one.updated_at:%Y-%m-%d %H:%M}" if one.updated_at else "",
        )
        for one in found
    ]
    show_table(Table(("alias", "version", "", "moved"), rows))


def _read_guard(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputFileError(f"{path} cannot be read as JSON ({error}); write an object") from None
    if not isinstance(found, dict):
        raise InputFileError(f'{path} holds no object; write {{"downstream": {{"arc_easy": {{"acc": …}}}}}}')
    return found


@alias.command("set")
def set_(
    model: ModelArgument,
    name: _Alias,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Such as v1; left out it stays.", show_default=False)
    ] = None,
    expected: Annotated[
        str | None,
        typer.Option("--expected", metavar="VERSION", help="Only if it points there now: nobody's move is undone."),
    ] = None,
    protect: Annotated[
        bool | None, typer.Option("--protect/--unprotect", help="Only administrators move it.", show_default=False)
    ] = None,
    approval: Annotated[
        bool | None,
        typer.Option("--approval/--no-approval", help="Each change takes a second key's approval.", show_default=False),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Told to whoever approves.")] = None,
    guard: Annotated[
        Path | None,
        typer.Option(
            "--guard",
            metavar="FILE.json",
            help="What a version must have measured; {} takes the guard away.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Point an alias at a version; it is made where it is not there.

    Where the alias demands approval, the change is asked for, and `emmetd alias approve` with another key makes it.

    \b
    Examples:
      emmetd alias set smollm2-135m production v3 --expected v2
      emmetd alias set smollm2-135m latest v0
      emmetd alias set smollm2-135m production --approval
    """
    with connected(url, key) as client:
        moved = client.aliases.set(
            model,
            name,
            version,
            expected=expected,
            protected=protect,
            approval=approval,
            guard=_read_guard(guard),
            reason=reason,
        )
    if as_json:
        show_json(moved)
    elif moved.request is None:
        typer.echo(f"{moved.model}@{moved.alias} is {moved.version}")
    else:
        typer.echo(
            f"{moved.model}@{moved.alias} stays {moved.version}; another key must approve: "
            f"emmetd alias approve {moved.model} {moved.request.id}"
        )


@alias.command()
def requests(
    model: ModelArgument,
    state: Annotated[
        str, typer.Option("--state", help="open, approved, refused, withdrawn, expired or stale.")
    ] = "open",
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """List changes of aliases that were asked for.

    \b
    Example:
      emmetd alias requests smollm2-135m
    """
    with connected(url, key) as client:
        found = client.aliases.requests(model, state=state).to_list()
    if as_json:
        for one in found:
            show_json(one)
        return
    from emmetd_client import Table

    rows = [
        (
            one.id,
            one.alias,
            f"{one.expected} → {one.version}" if one.version else one.expected,
            one.state,
            one.requested_label or one.requested_by,
            one.reason or (f"publishing {one.edit}" if one.edit else ""),
            f"{one.expires_at:%Y-%m-%d %H:%M}" if one.expires_at else "",
        )
        for one in found
    ]
    show_table(Table(("id", "alias", "move", "state", "by", "reason", "until"), rows))


@alias.command()
def approve(
    model: ModelArgument,
    request: _Request,
    reason: _Reason = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Approve a change that another key asked for, and carry it out.

    \b
    Example:
      emmetd alias approve smollm2-135m move_01kah3v0d5m8 --reason "measured, holds"
    """
    with connected(url, key) as client:
        _tell(client.aliases.approve(model, request, reason=reason), as_json)


@alias.command()
def refuse(
    model: ModelArgument,
    request: _Request,
    reason: _Reason = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Refuse a change that was asked for, or withdraw your own.

    \b
    Example:
      emmetd alias refuse smollm2-135m move_01kah3v0d5m8 --reason "not before Monday"
    """
    with connected(url, key) as client:
        _tell(client.aliases.refuse(model, request, reason=reason), as_json)


def _tell(request: AliasRequest, as_json: bool) -> None:
    if as_json:
        show_json(request)
    else:
        typer.echo(f"{request.id} is {request.state}: {request.model}@{request.alias} to {request.version or 'itself'}")


@alias.command()
def delete(model: ModelArgument, name: _Alias, url: Url = None, key: Key = None) -> None:
    """Delete an alias; the versions stay.

    \b
    Example:
      emmetd alias delete smollm2-135m experiment
    """
    with connected(url, key) as client:
        client.aliases.delete(model, name)
    typer.echo(f"{model}@{name} is deleted")
