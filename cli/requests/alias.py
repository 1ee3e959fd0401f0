"""`emmetd alias`: names that point at versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.terminal.errors import InputFileError
from cli.terminal.served import AsJson, Key, ModelArgument, Url, connected, show_json, show_table

alias = typer.Typer(
    name="alias", help="Point names such as `latest` or `production` at versions.", no_args_is_help=True
)

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
            "protected" if one.protected else "",
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
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Such as v1.", show_default=False)],
    expected: Annotated[
        str | None,
        typer.Option("--expected", metavar="VERSION", help="Only if it points there now: nobody's move is undone."),
    ] = None,
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

    \b
    Examples:
      emmetd alias set smollm2-135m production v3 --expected v2
      emmetd alias set smollm2-135m latest v0
    """
    with connected(url, key) as client:
        moved = client.aliases.set(model, name, version, expected=expected, guard=_read_guard(guard))
    if as_json:
        show_json(moved)
    else:
        typer.echo(f"{moved.model}@{moved.alias} is {moved.version}")


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
