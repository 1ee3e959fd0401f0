"""`emmetd versions`: carry versions from one store to another, and delete blobs that nothing names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from api_schemas.references import NAME_PATTERN, parse_reference, version_name
from cli.terminal.errors import CliError
from cli.terminal.options import ConfigFile, DataFolder
from cli.terminal.store import acting, opened

if TYPE_CHECKING:
    from configuration.settings import Settings
    from store.blobs.blob_store import BlobStore

_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
_MIB: Final = 1024**2
_PANEL: Final = "On the store itself"

versions = typer.Typer(
    name="versions",
    help="See, compare, revert and export versions of a server; carry them from one store to another.\n\n"
    "push, pull and collect work with the database and the blobs themselves: use the settings that API and workers "
    "have.",
    no_args_is_help=True,
)

_Bundle = Annotated[str, typer.Argument(metavar="BUNDLE", help="A folder, or s3://bucket/prefix.", show_default=False)]


@versions.command(rich_help_panel=_PANEL)
def push(
    reference: Annotated[str, typer.Argument(metavar="REF", help="NAME, NAME@v3 or NAME@alias.", show_default=False)],
    bundle: _Bundle,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Put a version into a bundle: its whole lineage with facts, measurements, deltas and matrices.

    \b
    Examples:
      emmetd versions push smollm2-135m@v7 /mnt/usb/corrections
      emmetd versions push smollm2-135m@production s3://models/emmetd
    """
    try:
        wanted = parse_reference(reference)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    settings = _settings(data, config)
    target = _checked_url(bundle)

    from store.upkeep.bundles import open_bundle
    from store.upkeep.transfer import push as put_in

    with opened(data, config) as database, _disks():
        done = put_in(database, _blobs(settings), open_bundle(target, settings.s3), wanted)
    typer.echo(
        f"pushed {done.source} with its lineage of {len(done.versions)} to {target}: "
        f"{_amount(done.blobs, done.bytes)} copied"
    )


@versions.command(rich_help_panel=_PANEL)
def pull(
    bundle: _Bundle,
    reference: Annotated[
        str | None,
        typer.Argument(metavar="[NAME@vN]", help="Which of the bundle's versions.", show_default="the only one"),
    ] = None,
    model_name: Annotated[
        str | None,
        typer.Option("--model-name", metavar="NAME", help="The NAME that it gets here.", show_default="as there"),
    ] = None,
    renumber: Annotated[
        bool, typer.Option("--renumber", help="Take versions in under the next free numbers where theirs are taken.")
    ] = False,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Take a version of a bundle in, with its lineage. Nothing is written unless every blob is what it should be.

    No alias moves. A version whose edit is here already stays as it is.

    \b
    Examples:
      emmetd versions pull /mnt/usb/corrections
      emmetd versions pull s3://models/emmetd smollm2-135m@v7 --renumber
    """
    if model_name is not None and not re.match(NAME_PATTERN, model_name):
        raise typer.BadParameter(f"{model_name!r} is not a model's NAME, such as smollm2-135m")
    settings = _settings(data, config)
    source = _checked_url(bundle)

    from store.upkeep.bundles import open_bundle
    from store.upkeep.transfer import pull as take_in

    with opened(data, config) as database, _disks():
        opened_bundle = open_bundle(source, settings.s3)
        wanted = reference or _only(opened_bundle.versions(), source)
        done = take_in(
            database, _blobs(settings), opened_bundle, wanted, acting(), model_name=model_name, renumber=renumber
        )
    if not done.versions:
        typer.echo(f"{done.target} is here already; {_amount(done.blobs, done.bytes)} copied")
        return
    new = ", ".join(map(version_name, done.versions))
    typer.echo(f"pulled {done.source} as {done.target} (new: {new}); {_amount(done.blobs, done.bytes)} copied")


@versions.command(rich_help_panel=_PANEL)
def collect(
    grace: Annotated[
        str, typer.Option("--grace", metavar="TIME", help="Blobs put since then stay: 12h, 7d or 2w, at least 1h.")
    ] = "1d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go, and delete nothing.")] = False,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Delete blobs that no version, model or running batch names, and exports that can be made again.

    \b
    Safe beside running processes. Examples:
      emmetd versions collect --dry-run
      emmetd versions collect --grace 7d
    """
    time_of_grace = _time(grace)
    settings = _settings(data, config)

    from store.upkeep.garbage_collection import collect as collect_garbage

    with opened(data, config) as database, _disks():
        found = collect_garbage(database, _blobs(settings), time_of_grace, acting(), delete=not dry_run)
    if dry_run:
        for blob in found.blobs:
            typer.echo(f"{blob.sha256}  {blob.bytes:>12}  {blob.put_at:%Y-%m-%d %H:%M}")
    typer.echo(
        f"{'would delete' if dry_run else 'deleted'} {_amount(len(found.blobs), found.bytes)} and {found.exports} "
        f"exports; {found.kept} blobs stay"
    )


@contextmanager
def _disks() -> Iterator[None]:
    """What a folder refuses is told as one message."""
    try:
        yield
    except OSError as error:
        raise CliError(
            f"{error.filename or 'the disk'}: {error.strerror or error}; make room, or name another folder"
        ) from None


def _settings(data: Path | None, config: Path | None) -> Settings:
    from configuration.settings import load_settings

    return load_settings(data=data, config=config)


def _blobs(settings: Settings) -> BlobStore:
    from store.blobs.opening import open_blob_store

    return open_blob_store(settings.blob_url, settings.s3)


def _checked_url(url: str) -> str:
    from configuration.s3_settings import S3_URL

    scheme, separator, _ = url.partition("://")
    if not separator:
        return str(Path(url).expanduser().absolute())
    if not (scheme == "file" and re.match(r"file:///.", url)) and not S3_URL.fullmatch(url):
        raise typer.BadParameter(f"{url!r} is no bundle's place; give a folder, file:///folder or s3://bucket/prefix")
    return url


def _only(known: list[str], where: str) -> str:
    if len(known) != 1:
        said = f"has {', '.join(known)}; say which" if known else "has no versions in it"
        raise CliError(f"{where} {said}")
    return known[0]


def _time(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a time of at least an hour; write 12h, 7d or 2w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _amount(blobs: int, size: int) -> str:
    return f"{blobs} blob{'' if blobs == 1 else 's'} of {size / _MIB:.1f} MiB"
