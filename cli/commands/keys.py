"""`emmetd keys`: make, list and revoke API keys, straight in the database."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from api_schemas.access import SCOPES
from api_schemas.references import NAME_PATTERN
from cli.terminal.options import ConfigFile, DataFolder
from cli.terminal.store import acting, opened

if TYPE_CHECKING:
    from api_schemas.access import Scope
    from store.schema.access_tables import KeyRow

_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}

keys = typer.Typer(
    name="keys",
    help="Make, list and revoke API keys.\n\nThey are kept in the database: use the settings that the API has.",
    no_args_is_help=True,
)


def _scopes(values: list[str]) -> list[Scope]:
    unknown = [value for value in values if value not in SCOPES]
    if unknown or not values:
        raise typer.BadParameter(f"{', '.join(unknown) or 'none'}: scopes are {', '.join(SCOPES)}")
    return [scope for scope in SCOPES if scope in values]


def _names(values: list[str]) -> list[str]:
    for value in values:
        if not re.match(NAME_PATTERN, value):
            raise typer.BadParameter(f"{value!r} is not a model's NAME, such as smollm2-135m")
    return values


def _lifetime(text: str | None) -> timedelta | None:
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a time; write 12h, 30d or 8w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


_Limit = typer.Option(min=0, metavar="N", show_default="the server's", help="0 is no limit.")


@keys.command()
def create(
    label: Annotated[str, typer.Option("--label", help="What it is for, and whose it is.")],
    scope: Annotated[
        list[str], typer.Option("--scope", help=f"What it may do: {', '.join(SCOPES)} (all). May be repeated.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="A model that it is for. May be repeated.", show_default="all"),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="12h, 30d or 8w.", show_default="never")
    ] = None,
    requests_per_minute: Annotated[int | None, _Limit] = None,
    tokens_per_minute: Annotated[int | None, _Limit] = None,
    facts_per_day: Annotated[int | None, _Limit] = None,
    open_batches: Annotated[int | None, _Limit] = None,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Make a key and show it. It cannot be shown again: only its hash is kept.

    \b
    Examples:
      emmetd keys create --label "ada's notebook" --scope generate --scope evaluate
      emmetd keys create --label nightly --scope edit --model smollm2-135m --expires 30d
    """
    scopes, names, lifetime = _scopes(scope), _names(model or []), _lifetime(expires)
    if not 0 < len(label) <= 200 or not label.isprintable():
        raise typer.BadParameter(f"the label has {len(label)} characters; give 1 to 200, all of them printable")
    with opened(data, config) as database:
        from store.access import keys as rows
        from store.clock import now

        limits = rows.KeyLimits(requests_per_minute, tokens_per_minute, facts_per_day, open_batches)
        with database.writing() as session:
            row, text = rows.create(
                session,
                acting(),
                label=label,
                scopes=scopes,
                models=names or None,
                expires_at=None if lifetime is None else now() + lifetime,
                limits=limits,
            )
            shown = _shown(row)
    typer.echo(f"{shown}\n\nKeep it now, it is not shown again:", err=True)
    typer.echo(text)


@keys.command("list")
def show(data: DataFolder = None, config: ConfigFile = None) -> None:
    """List all keys, newest first, without their secrets.

    \b
    Example:
      emmetd keys list
    """
    with opened(data, config) as database:
        from store.access import keys as rows

        with database.reading() as session:
            lines = [_shown(row) for row in rows.all_keys(session)]
    typer.echo("\n".join(lines) or "there are no keys; make one with `emmetd keys create`")


@keys.command()
def revoke(
    key: Annotated[
        str, typer.Argument(metavar="ID", help="The key's id, as `emmetd keys list` shows it; a whole key will do.")
    ],
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Revoke a key, for ever. It opens nothing from the next request on.

    \b
    Example:
      emmetd keys revoke emk_0123456789ab
    """
    with opened(data, config) as database:
        from store.access import keys as rows

        with database.writing() as session:
            typer.echo(_shown(rows.revoke(session, acting(), rows.id_in(key))))


def _shown(row: KeyRow) -> str:
    """One line: id, what became of it, what it may do, and whose it is."""
    from store.clock import now

    if row.revoked_at is not None:
        state = f"revoked {_day(row.revoked_at)}"
    elif row.expires_at is not None:
        state = f"{'expired' if row.expires_at <= now() else 'expires'} {_day(row.expires_at)}"
    else:
        state = "good"
    limits = {
        "requests/min": row.requests_per_minute,
        "tokens/min": row.tokens_per_minute,
        "facts/day": row.facts_per_day,
        "open batches": row.open_batches,
    }
    own = [f"{name} {limit or 'without limit'}" for name, limit in limits.items() if limit is not None]
    parts = [
        row.id,
        state,
        "+".join(row.scopes),
        "all models" if row.models is None else f"models {','.join(row.models)}",
        *own,
        f"used {_day(row.last_used_at)}" if row.last_used_at else "never used",
        f"made {_day(row.created_at)} by {row.created_by}",
        row.label,
    ]
    return "  ".join(parts)


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%MZ")
