"""The zip that most exports are: stored, of any size, the same bytes for the same content, with a sum for each file."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

SUMS_FILE: Final = "SHA256SUMS"
ABOUT_FILE: Final = "emmetd.json"
CARD_FILE: Final = "README.md"
OWN_FILES: Final = frozenset({SUMS_FILE, ABOUT_FILE, CARD_FILE})
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)
_PIECE: Final = 1 << 20


class ExportArchive:
    """Written file by file into `path`. Leaving the block without an error adds SHA256SUMS, as `sha256sum -c` reads."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
        self._sums: dict[str, str] = {}

    def __enter__(self) -> ExportArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._zip:
            if kind is None:
                lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(self._sums.items()))
                self.add(SUMS_FILE, lines.encode())

    def add(self, name: str, content: bytes) -> None:
        self.add_pieces(name, (content,))

    def add_json(self, name: str, content: Mapping[str, Any]) -> None:
        self.add(name, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())

    def add_file(self, name: str, path: Path) -> None:
        with path.open("rb") as file:
            self.add_pieces(name, iter(lambda: file.read(_PIECE), b""))

    def add_pieces(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """A file of any size, never held whole. Raises ValueError where the name is taken."""
        if name in self._sums:
            raise ValueError(f"the export has a file {name!r} already")
        digest = hashlib.sha256()
        with self._zip.open(zipfile.ZipInfo(name, _LONG_AGO), "w", force_zip64=True) as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
        self._sums[name] = digest.hexdigest()
