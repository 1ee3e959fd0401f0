"""`emmetd migrate`: bring the database's tables to this version's."""

from __future__ import annotations

from cli.options import ConfigFile, DataFolder


def migrate(data: DataFolder = None, config: ConfigFile = None) -> None:
    """Bring the database up to date. `emmetd serve` does it by itself; run it before `emmetd api` and `emmetd worker`.

    \b
    Example:
      EMMETD_DATABASE_URL=postgresql://… emmetd migrate
    """
    from configuration.settings import load_settings

    settings = load_settings(data=data, config=config)

    from versions.database import migrate as bring_up_to_date

    bring_up_to_date(settings.database_url)
