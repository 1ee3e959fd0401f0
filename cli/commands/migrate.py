"""`emmetd migrate`: bring the database's tables to this version's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from cli.terminal.options import ConfigFile, DataFolder

if TYPE_CHECKING:
    from configuration.settings import Settings


def migrate(data: DataFolder = None, config: ConfigFile = None) -> None:
    """Bring the database up to date. `emmetd serve` does it by itself; run it before `emmetd api` and `emmetd worker`.

    A database that is away is waited for; one that refuses the user or password is an error at once.

    \b
    Example:
      EMMETD_DATABASE_URL=postgresql://… emmetd migrate
    """
    from configuration.settings import load_settings

    settings = load_settings(data=data, config=config)

    from sqlalchemy.exc import DBAPIError

    from cli.terminal.errors import CliError
    from configuration.sources import mask_url
    from store.errors import DatabaseAwayError
    from store.schema.database import Database
    from store.schema.database import migrate as bring_up_to_date
    from store.upkeep.availability import await_database, database_trouble, reason_of

    shown = mask_url(settings.database_url)

    def tell(reason: str, left: float) -> None:
        typer.echo(f"emmetd: waiting for the database {shown}, for {left:.0f} s at most: {reason}", err=True)

    with refusals_told(settings):
        database = Database(settings.database_url)
        try:
            await_database(database, settings.database_wait_seconds, tell)
        except DatabaseAwayError as error:
            raise CliError(
                f"the database {shown} is away: {error}; start it, or wait longer with EMMETD_DATABASE_WAIT_SECONDS"
            ) from None
        finally:
            database.close()
    try:
        bring_up_to_date(settings.database_url)
    except DBAPIError as error:
        raise CliError(f"the database {shown}: {database_trouble(error)} ({reason_of(error)})") from None


@contextmanager
def refusals_told(settings: Settings) -> Iterator[None]:
    """A database that refuses us for good is a matter of the configuration."""
    from configuration.errors import ConfigurationError
    from configuration.sources import mask_url
    from store.errors import DatabaseRefusedError

    try:
        yield
    except DatabaseRefusedError as error:
        raise ConfigurationError(
            f"database_url = {mask_url(settings.database_url)!r}: {error}; set EMMETD_DATABASE_URL to the database's "
            "address, user, password and name"
        ) from None


def end_where_the_database_refuses(settings: Settings) -> None:
    """For processes that wait for a database: only for one that could answer. Raises `ConfigurationError`."""
    from store.schema.database import Database
    from store.upkeep.availability import why_unreachable

    with refusals_told(settings):
        database = Database(settings.database_url)
        try:
            why_unreachable(database)
        finally:
            database.close()
