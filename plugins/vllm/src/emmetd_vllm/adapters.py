"""Adapters of versions as folders on this machine: asked for at emmetd, fetched once, kept under their hashes."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emmetd_client import AsyncEmmetd, Version

from emmetd_vllm import archive
from emmetd_vllm.errors import ArchiveError, NotServedError
from emmetd_vllm.settings import Settings

MOST_RANK: Final = 512
"""Of adapters that vLLM takes."""
_WITHOUT_ADAPTERS: Final = frozenset({"gpt2", "gptj"})
"""Families that emmetd edits and vLLM takes no adapters for."""
_BASE: Final = "v0"
_ANSWER_SECONDS: Final = 30.0
_RETRIES: Final = 1
_EXPORT_SECONDS: Final = 300.0
"""A worker that edits finishes what it does first; those who asked vLLM wait meanwhile."""
_FETCH_SECONDS: Final = 600.0
_ABANDONED_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True)
class Adapter:
    """`version` is NAME@vN. `base` is the base that it is made for, by hub id or folder; `rank` that of its file."""

    version: str
    folder: Path
    base: str
    base_fingerprint: str
    rank: int


class Adapters:
    """What lies in the cache, and what is on its way there.

    A folder is `NAME/vN-DELTA/BASE-EXPORT`, of hashes: other content has another path, by which vLLM tells its cached
    prefixes apart. Nothing is removed: vLLM reads a folder again whenever it has put the adapter out of its memory.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fetching: dict[Path, asyncio.Task[Adapter]] = {}

    async def get(self, name: str, reference: str) -> Adapter:
        """The adapter of what `reference`, a version or an alias of the model `name`, means now.

        Raises NotServedError, EmmetdError, OSError, TimeoutError.
        """
        async with self._client() as client:
            family = (await client.models.get(name)).family
            if family in _WITHOUT_ADAPTERS:
                raise NotServedError(f"vLLM takes no adapters for {family}; export it with format=hf and serve that")
            version = await client.versions.get(name, reference)
        if version.version == _BASE:
            raise NotServedError(f"{name}@{_BASE} is the base; ask vLLM for its model by the name that it is served as")
        return await self._shared(version, _place(self._settings.cache, name, version))

    async def _shared(self, version: Version, place: Path) -> Adapter:
        """One download for all who wait for it, which goes on when one of them hangs up."""
        task = self._fetching.get(place)
        if task is None:
            task = self._fetching[place] = asyncio.create_task(self._found_or_fetched(version, place))
            task.add_done_callback(lambda done: self._forget(place, done))
        return await asyncio.shield(task)

    def _forget(self, place: Path, done: asyncio.Task[Adapter]) -> None:
        self._fetching.pop(place, None)
        if not done.cancelled():
            done.exception()  # seen: asyncio would tell of it where everybody has hung up

    async def _found_or_fetched(self, version: Version, place: Path) -> Adapter:
        async with asyncio.timeout(_FETCH_SECONDS):
            found = await asyncio.to_thread(_whole_adapter, place, version)
            return found or await self._fetched(version, place)

    async def _fetched(self, version: Version, place: Path) -> Adapter:
        scratch = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=".", suffix=".part", dir=place))
        try:
            async with self._client() as client:
                file = await client.exports.download(
                    version.reference,
                    to=scratch / "export.zip",
                    format="peft",
                    max_rank=MOST_RANK,
                    max_bytes=archive.MOST_BYTES,
                    timeout=_EXPORT_SECONDS,
                )
            return await asyncio.to_thread(_unpacked, file.path, scratch / "content", place, version)
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)

    def _client(self) -> AsyncEmmetd:
        """One for each use: names are resolved seldom, and a client belongs to the event loop that it was used in."""
        settings = self._settings
        return AsyncEmmetd(settings.url, api_key=settings.api_key, timeout=_ANSWER_SECONDS, retries=_RETRIES)


def _place(cache: Path, name: str, version: Version) -> Path:
    """`sha256` is that of the version's delta: the same number means another version on another server."""
    is_named = re.fullmatch(r"v[1-9][0-9]{0,8}", version.version) is not None and version.model == name
    if not is_named or not _is_hash(version.sha256):
        raise NotServedError(
            f"emmetd answers {version.reference[:200]!r} without a hash; update emmetd, or this plugin"
        )
    return cache / name / f"{version.version}-{str(version.sha256)[:16]}"


def _whole_adapter(place: Path, version: Version) -> Adapter | None:
    """The newest adapter in `place`; what does not meet its sums is removed, and fetched again."""
    place.mkdir(parents=True, exist_ok=True)
    for part in place.glob(".*.part"):
        if part.stat().st_mtime < time.time() - _ABANDONED_SECONDS:  # a younger one may be another process's
            shutil.rmtree(part, ignore_errors=True)
    folders = [one for one in place.iterdir() if not one.name.startswith(".")]
    for folder in sorted(folders, key=lambda one: one.stat().st_mtime, reverse=True):
        try:
            archive.check_sums(folder)
            return _adapter(folder, version)
        except ArchiveError:
            shutil.rmtree(folder)
    return None


def _unpacked(file: Path, content: Path, place: Path, version: Version) -> Adapter:
    content.mkdir()
    archive.unpack(file, content)
    made = _adapter(content, version)
    with file.open("rb") as opened:
        export = hashlib.file_digest(opened, "sha256").hexdigest()
    folder = place / f"{made.base_fingerprint[:16]}-{export[:16]}"
    try:
        content.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process with the same cache was first, and its folder is the same
            raise
    return _adapter(folder, version)


def _adapter(folder: Path, version: Version) -> Adapter:
    """Raises ArchiveError, OSError."""
    about = archive.about(folder)
    if (about.get("model"), about.get("version")) != (version.model, version.version):
        told = f"{about.get('model')}@{about.get('version')}"[:200]
        raise ArchiveError(f"the export of {version.reference} says that it is {told}; check EMMETD_URL")
    base, fingerprint = about.get("base"), about.get("base_fingerprint")
    if not isinstance(base, str) or not _is_hash(fingerprint):
        raise ArchiveError(f"{archive.ABOUT_FILE} of the export does not name its base; update emmetd")
    return Adapter(version.reference, folder, base, str(fingerprint), archive.configuration(folder)["r"])


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None
