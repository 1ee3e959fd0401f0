"""Commands that work with the database themselves."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cli.terminal.errors import CliError

if TYPE_CHECKING:
    from store.access.audit import Actor
    from store.schema.database import Database


@contextmanager
def opened(data: Path | None, config: Path | None) -> Iterator[Database]:
    """The database of the settings. What it refuses or cannot do is told as one message."""
    from sqlalchemy.exc import DBAPIError

    from configuration.settings import load_settings
    from configuration.sources import mask_url
    from store.errors import StoreError
    from store.schema.database import Database, schema_is_current

    settings = load_settings(data=data, config=config)
    shown = mask_url(settings.database_url)
    database = Database(settings.database_url)
    try:
        if not schema_is_current(database):
            raise CliError(
                f"the database {shown} has not this release's tables; run `emmetd migrate` with these settings"
            )
        yield database
    except DBAPIError as error:
        raise CliError(f"the database {shown} does not answer as it should: {error.orig}") from None
    except StoreError as error:
        raise CliError(str(error)) from None
    finally:
        database.close()


def acting() -> Actor:
    """Who sits at the command line."""
    from store.access.audit import Actor

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        name = "unknown"
    return Actor(f"cli:{name}"[:100])
