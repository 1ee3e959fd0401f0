"""Puts a version's files where engines find them: a folder a version, whole or not at all, named by its content."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Final, TypeGuard

from api_schemas.references import version_name
from configuration.settings import Settings
from editing.atomic_files import exclusive, publish_folder, scratch_folder, sweep
from store.blobs.blob_store import BlobStore

_PIECE: Final = 1 << 20
_MOST_FILES: Final = 10_000
_UNUSED_SECONDS: Final = 600
"""A folder that was just written may be one that another process deploys now."""


def engines_folder(settings: Settings) -> Path:
    """Where engines find what is deployed to them."""
    return settings.deployment_folder or settings.data / "deployments"


def place_of(folder: Path, model: str, version: int, format: str, blob: str) -> Path:
    """Where the files of the export `blob` lie: another content has another path, so that no engine takes one for the
    other."""
    return folder / model / f"{version_name(version)}-{format}-{blob[:16]}"


def is_adapter(path: str | None) -> TypeGuard[str]:
    """Of a path that `place_of` made, or None."""
    return path is not None and "-peft-" in Path(path).name


def unpack(blobs: BlobStore, blob: str, to: Path) -> None:
    """Make the export's zip the folder `to`, unless it is there. Raises BlobError, OSError.

    Whoever may read the folder above may read it: the engine runs as another user.
    """
    if to.is_dir():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(to):
        if to.is_dir():
            return
        sweep(to)
        with scratch_folder(to) as part:
            archive = part / ".export.zip"
            with archive.open("wb") as file:
                for piece in blobs.chunks(blob):
                    file.write(piece)
            content = part / "content"
            content.mkdir()
            _extract(archive, content)
            publish_folder(content, to)


def remove_unused(folder: Path, model: str, used: Collection[str]) -> None:
    """Delete the folders of `model` whose names are not in `used`, but for those of the last minutes."""
    before = time.time() - _UNUSED_SECONDS
    for found in (folder / model).glob("v*-*-*"):
        if found.is_dir() and found.name not in used and found.stat().st_mtime < before:
            shutil.rmtree(found, ignore_errors=True)


def _extract(archive: Path, to: Path) -> None:
    """Flat names alone, as our exports have them: nothing is written outside of `to`."""
    with zipfile.ZipFile(archive) as zipped:
        names = zipped.namelist()
        if len(names) > _MOST_FILES or any(Path(name).name != name for name in names):
            raise ValueError("the export is not one of ours: its files lie in folders, or are too many")
        for name in names:
            with zipped.open(name) as source, (to / name).open("wb") as target:
                shutil.copyfileobj(source, target, _PIECE)
            (to / name).chmod(0o644)
