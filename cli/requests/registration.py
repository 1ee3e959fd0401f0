"""`emmetd models add`: register a model on a server, to be loaded by the workers of its NAME."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.terminal.served import AsJson, Key, Url, connected, show_json


def add(
    source: Annotated[
        str,
        typer.Argument(metavar="REF", help="A hub id, a short name, or a folder of the server's.", show_default=False),
    ],
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="REV", help="Branch, tag or commit on the hub.", show_default="main, now"),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What requests call it.", show_default="from REF")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Register a model at one commit. The server looks at its files; its weights are fetched by its first worker.

    \b
    Examples:
      emmetd models add openai-community/gpt2-xl --revision main
      emmetd models add /srv/models/ours --name ours
    """
    with connected(url, key) as client:
        found = client.models.add(source, revision=revision, name=name)
    if as_json:
        show_json(found)
        return
    at = f" at {found.revision}" if found.revision else ""
    typer.echo(f"{found.id} is {found.source or source}{at}; start a worker: emmetd worker --model-name {found.id}")
