"""`emmetd backup` and `emmetd restore`: SQL and blobs as one unit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.terminal.errors import CliError
from cli.terminal.options import ConfigFile, DataFolder
from cli.terminal.store import acting, opened

if TYPE_CHECKING:
    from store.blobs.blob_store import BlobStore
    from store.upkeep.backup import BackupManifest


def backup(
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that does not exist yet.")],
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Copy the database's rows and every blob that they name into a new folder. Nothing needs to be stopped.

    \b
    Examples:
      emmetd backup /backups/emmetd-$(date +%F)
      EMMETD_DATABASE_URL=postgresql://… EMMETD_BLOB_URL=s3://… emmetd backup /backups/today
    """
    with opened(data, config) as database, _blobs(data, config) as blobs:
        from store.upkeep.backup import back_up

        typer.echo(f"{target}: {_told(back_up(database, blobs, target))}")


def restore(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `emmetd backup` made.", exists=True)],
    check: Annotated[bool, typer.Option("--check", help="Only compare every file with its hash.")] = False,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Put a backup into an empty database and an empty blob store, of whichever kind the settings name.

    Every file is compared with its hash before anything is written. What is not empty is refused.

    \b
    Examples:
      emmetd restore /backups/emmetd-2026-11-22 --check
      emmetd restore /backups/emmetd-2026-11-22 --data /srv/emmetd
    """
    from configuration.settings import load_settings
    from store.errors import StoreError
    from store.schema.database import migrate
    from store.upkeep.backup import restore as put_back
    from store.upkeep.backup import verify

    if check:
        try:
            typer.echo(f"{source} is whole: {_told(verify(source))}")
        except StoreError as error:
            raise CliError(str(error)) from None
        return
    settings = load_settings(data=data, config=config)
    migrate(settings.database_url)
    with opened(data, config) as database, _blobs(data, config) as blobs:
        typer.echo(f"restored: {_told(put_back(source.absolute(), database, blobs, acting()))}")


@contextmanager
def _blobs(data: Path | None, config: Path | None) -> Iterator[BlobStore]:
    """The blobs of the settings. What a disk refuses is told as one message."""
    from configuration.settings import load_settings
    from store.blobs.opening import open_blob_store
    from store.upkeep.availability import disk_trouble

    settings = load_settings(data=data, config=config)
    try:
        yield open_blob_store(settings.blob_url, settings.s3)
    except OSError as error:
        raise CliError(disk_trouble(error)) from None


def _told(manifest: BackupManifest) -> str:
    batches = manifest.tables["batches"].rows
    versions = manifest.tables["versions"].rows
    return (
        f"{versions} versions, {batches} batches, {manifest.rows} rows in all, {len(manifest.blobs)} blobs of "
        f"{manifest.blob_bytes / 1e6:.1f} MB, as of {manifest.made_at}"
    )
