"""Unpacks an export of emmetd and checks its sums. What comes over the network is not trusted to be one."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from emmetd_vllm.errors import ArchiveError

SUMS_FILE: Final = "SHA256SUMS"
ABOUT_FILE: Final = "emmetd.json"
CONFIG_FILE: Final = "adapter_config.json"
WEIGHTS_FILE: Final = "adapter_model.safetensors"
MOST_BYTES: Final = 4 * 1024**3
"""Of an archive, and of what is unpacked from it; rank 512 on eight layers of a 70B model takes 600 MB."""
_MOST_FILES: Final = 100
_MOST_TEXT_BYTES: Final = 8 * 1024**2
_PIECE: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
_SUFFIXES: Final = frozenset({".json", ".md", ".safetensors"})
"""Other weight files are pickles, which run code when they are loaded."""
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What `zipfile` raises for archives that are damaged, encrypted or compressed in a way that it does not know."""


def unpack(archive: Path, to: Path, most_bytes: int = MOST_BYTES) -> None:
    """Write the files of `archive` into the empty folder `to`, and check them. Raises ArchiveError, OSError."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            _check_members(members)
            left = most_bytes
            for member in members:
                left -= _write(zipped, member, to / member.filename, left)
                if left < 0:
                    raise ArchiveError(f"the export is larger than {most_bytes} bytes; serve it as format=hf")
    except _BROKEN as error:
        raise ArchiveError(f"the export cannot be unpacked ({type(error).__name__}: {error}); ask again") from None
    check_sums(to)


def check_sums(folder: Path) -> None:
    """Each file is listed in SHA256SUMS with the sum that it has, and an adapter's are there. Raises ArchiveError,
    OSError."""
    found = {path.name for path in folder.iterdir()}
    missing = {SUMS_FILE, ABOUT_FILE, CONFIG_FILE, WEIGHTS_FILE} - found
    if missing:
        raise ArchiveError(f"the export has no {min(missing)}; is EMMETD_URL that of an emmetd?")
    sums = _sums(folder / SUMS_FILE)
    unlike = (sums.keys() ^ (found - {SUMS_FILE})) | {
        name for name in sums.keys() & found if _digest(folder / name) != sums[name]
    }
    if unlike:
        raise ArchiveError(f"{min(unlike)} of the export is not what {SUMS_FILE} says; ask again")


def about(folder: Path) -> Mapping[str, Any]:
    """What emmetd.json tells of the version. Raises ArchiveError, OSError."""
    return _object(folder / ABOUT_FILE)


def configuration(folder: Path) -> Mapping[str, Any]:
    """The adapter's own configuration, of a LoRA adapter. Raises ArchiveError, OSError."""
    found = _object(folder / CONFIG_FILE)
    if found.get("peft_type") != "LORA" or not isinstance(found.get("r"), int):
        raise ArchiveError(f"{CONFIG_FILE} of the export is not that of a LoRA adapter; update emmetd")
    return found


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    """Plain files with plain names, each once, and of kinds that hold no code. Raises ArchiveError."""
    if len(members) > _MOST_FILES or len({member.filename for member in members}) != len(members):
        raise ArchiveError(f"the export holds more than {_MOST_FILES} files, or one of them twice; update emmetd")
    for member in members:
        name = member.filename
        mode = member.external_attr >> 16
        is_plain = _NAME.fullmatch(name) is not None and stat.S_IFMT(mode) in (0, stat.S_IFREG)
        if not is_plain or (name != SUMS_FILE and Path(name).suffix not in _SUFFIXES):
            raise ArchiveError(f"the export holds {name[:100]!r}, which no adapter of emmetd does; check EMMETD_URL")


def _write(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, to: Path, most: int) -> int:
    """The bytes written, little more than `most`. Counted as they come: what the archive says of sizes may be wrong."""
    size = 0
    with zipped.open(member) as source, to.open("xb") as target:
        while size <= most and (piece := source.read(_PIECE)):
            size += target.write(piece)
    return size


def _sums(path: Path) -> dict[str, str]:
    """File → sum, as `sha256sum` writes them."""
    lines = _text(path).splitlines()
    found = [re.fullmatch(r"([0-9a-f]{64})  (\S+)", line) for line in lines]
    if not all(found):
        raise ArchiveError(f"{SUMS_FILE} of the export has lines that are none of sha256sum's; ask again")
    return {match[2]: match[1] for match in found if match}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ArchiveError(f"{path.name} of the export is not a JSON object; update emmetd")
    return found


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_MOST_TEXT_BYTES + 1)
    if len(content) > _MOST_TEXT_BYTES:
        raise ArchiveError(f"{path.name} of the export is larger than {_MOST_TEXT_BYTES} bytes; update emmetd")
    return content.decode("utf-8", "replace")
