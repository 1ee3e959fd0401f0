"""`emmetd audit`: who changed what, straight from the database."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cli.terminal.options import ConfigFile, DataFolder
from cli.terminal.printable import printable
from cli.terminal.store import opened


def audit(
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Entries, at most.")] = 50,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Only changes of this model.", show_default="all")
    ] = None,
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="ID", help="Only changes by this key or user.", show_default="all")
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="KIND", help="Such as alias.moved.", show_default="all")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on each line.")] = False,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """List the changes that were made, newest first.

    \b
    Examples:
      emmetd audit --limit 20
      emmetd audit --action alias.moved --json
    """
    with opened(data, config) as database:
        from store.access import audit as log

        with database.reading() as session:
            models = None if model is None else [model]
            rows = log.page(session, None, limit, models=models, actor=actor, action=action)[:limit]
    for row in rows:
        moment = row.at.isoformat(timespec="seconds")
        if as_json:
            entry = {
                "id": row.id,
                "at": moment,
                "actor": row.actor,
                "label": row.label,
                "address": row.address,
                "action": row.action,
                "model": row.model,
                "target": row.target,
                "details": row.details,
            }
            typer.echo(json.dumps(entry))
            continue
        who = row.actor if row.label is None else f"{row.actor} ({row.label})"
        details = " ".join(f"{name}={value}" for name, value in row.details.items() if value is not None)
        what = " ".join(part for part in (row.action, row.model, row.target) if part)
        typer.echo(printable("  ".join(part for part in (moment, who, row.address, what, details) if part)))
