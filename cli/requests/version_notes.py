"""`emmetd versions describe`: what people write beside a version or a model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.terminal.served import AsJson, Key, Reference, Url, connected, show_json


def describe(
    reference: Reference,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="What stands beside it; '' takes it away.")
    ] = None,
    tags: Annotated[
        list[str], typer.Option("--tag", metavar="TAG", help="A tag to add; may be repeated.", show_default=False)
    ] = [],  # noqa: B006 - typer copies it
    untag: Annotated[
        list[str], typer.Option("--untag", metavar="TAG", help="A tag to remove; may be repeated.", show_default=False)
    ] = [],  # noqa: B006
    of_model: Annotated[bool, typer.Option("--model", help="Of the model NAME itself, not of its version.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Change the description and tags of a version or, with --model, of a model.

    \b
    Examples:
      emmetd versions describe smollm2-135m@v3 --description "Read by legal" --tag legal
      emmetd versions describe smollm2-135m --model --tag owner:ada
    """
    if description is None and not tags and not untag:
        raise typer.BadParameter("changes nothing; give --description, --tag or --untag")
    with connected(url, key) as client:
        found: Any = client.models.get(reference) if of_model else client.versions.get(reference)
        kept = None if not tags and not untag else sorted({*found.tags, *tags} - set(untag))
        change: dict[str, Any] = {"description": description, "tags": kept, "if_match": found.etag}
        told: Any = (
            client.models.update(reference, **change) if of_model else client.versions.update(reference, **change)
        )
    if as_json:
        show_json(told)
        return
    name = told.id if of_model else told.reference
    typer.echo(f"{name}: {told.description or 'no description'}; tags: {', '.join(told.tags) or 'none'}")
