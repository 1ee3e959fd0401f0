"""`emmetd edits`: see edit batches that were submitted, and stop them."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.terminal.served import (
    AsJson,
    Key,
    Timeout,
    Url,
    Wait,
    awaited_job,
    connected,
    show_job,
    show_json,
    show_table,
)

edits = typer.Typer(name="edits", help="See edit batches that were submitted, and stop them.", no_args_is_help=True)

_EditId = Annotated[str, typer.Argument(metavar="ID", help="Such as edit_01kah3v0d5m8.", show_default=False)]


@edits.command("list")
def list_(
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Only those of this model.", show_default="all")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Batches, at most.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """List batches, newest first.

    \b
    Example:
      emmetd edits list --model smollm2-135m
    """
    with connected(url, key) as client:
        found = client.edits.list(model=model, page_size=min(limit, 1000)).to_list(limit)
    if as_json:
        for job in found:
            show_json(job)
        return
    from emmetd_client import Table

    rows = [
        (
            job.id,
            job.kind,
            job.state,
            job.requested or job.model,
            job.version or "",
            str(job.n_facts),
            f"{job.created_at:%Y-%m-%d %H:%M}" if job.created_at else "",
            job.label or "",
        )
        for job in found
    ]
    show_table(Table(("id", "kind", "state", "on", "version", "facts", "created", "label"), rows))


@edits.command()
def show(
    edit_id: _EditId,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show how a batch is, or how it ended.

    \b
    Example:
      emmetd edits show edit_01kah3v0d5m8 --wait
    """
    with connected(url, key) as client:
        job = client.edits.get(edit_id)
        if wait:
            awaited_job(job, timeout, as_json)
        else:
            show_job(job, as_json)


@edits.command()
def cancel(edit_id: _EditId, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Stop a batch: at once where it waits, at its next step where it runs.

    \b
    Example:
      emmetd edits cancel edit_01kah3v0d5m8
    """
    with connected(url, key) as client:
        job = client.edits.cancel(edit_id)
    if as_json:
        show_json(job)
    else:
        typer.echo(f"{job.id} is {job.state}{'' if job.ended else ', and stops at its next step'}")
