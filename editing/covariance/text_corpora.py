"""Text corpora that the operator configures: a local text, JSONL or Parquet file, or such files of a hub data set."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from editing.errors import CorpusError
from editing.model.loading import LoadedModel
from editing.progress import ShouldStop

_HELD_OUT_EVERY = 10
_TEXT_CHARACTERS = 2000
_IDENTITY_BYTES = 1 << 20
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class TextFile:
    """A local file: `.jsonl` and `.parquet` hold a document in `field` of each record, any other is plain UTF-8 text.

    Documents are cut into sequences of at most `length` tokens. Every tenth document is held out.
    """

    path: Path
    field: str = "text"
    length: int = 256

    @property
    def name(self) -> str:
        """File name, size and a hash of its first and last MiB: another file under the same name is another corpus."""
        try:
            with self.path.open("rb") as file:
                digest = hashlib.sha256(file.read(_IDENTITY_BYTES))
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _IDENTITY_BYTES))
                digest.update(file.read())
        except OSError as error:
            raise CorpusError(f"corpus file {str(self.path)!r} cannot be read: {error.strerror}") from error
        return f"{self.path.name} ({size} bytes, {digest.hexdigest()[:16]}, field {self.field}, rows of {self.length})"

    def sequences(
        self, model: LoadedModel, tokens: int, held_out: bool, should_stop: ShouldStop
    ) -> Iterator[Sequence[int]]:
        yield from _sequences(documents(self.path, self.field), model.backend_tokenizer, self.length, held_out)


@dataclass(frozen=True)
class HubDataSet:
    """Files of a data set on the Hugging Face hub whose paths match `files`, in the order of their names.

    Pin `revision` to a commit: the name of a branch does not say which text it was.
    """

    data_set: str
    revision: str
    files: str = "*train*.parquet"
    field: str = "text"
    length: int = 256
    token: str | None = None

    @property
    def name(self) -> str:
        return f"{self.data_set} at {self.revision} ({self.files}, field {self.field}, rows of {self.length})"

    def sequences(
        self, model: LoadedModel, tokens: int, held_out: bool, should_stop: ShouldStop
    ) -> Iterator[Sequence[int]]:
        yield from _sequences(self._documents(), model.backend_tokenizer, self.length, held_out)

    def _documents(self) -> Iterator[str]:
        from huggingface_hub import HfApi, hf_hub_download

        try:
            repository: Any = HfApi(token=self.token).dataset_info(
                self.data_set, revision=self.revision, timeout=_ANSWER_SECONDS
            )
            paths = sorted(file.rfilename for file in repository.siblings or () if fnmatch(file.rfilename, self.files))
        except Exception as error:  # the client's own, its HTTP library's, or the operating system's
            raise CorpusError(
                f"data set {self.name}: the hub does not give it ({error}); name another corpus"
            ) from error
        if not paths:
            raise CorpusError(f"data set {self.name} has no file that matches; look at its files on the hub")
        for path in paths:
            try:
                local = hf_hub_download(
                    self.data_set, path, repo_type="dataset", revision=str(repository.sha), token=self.token
                )
            except Exception as error:
                raise CorpusError(f"data set {self.name}: {path} was not downloaded ({error})") from error
            yield from documents(Path(local), self.field)


def documents(path: Path, field: str) -> Iterator[str]:
    """The texts of one file. Raises CorpusError naming the file, and the line or column that is at fault."""
    read = {".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}.get(path.suffix.lower(), _plain)
    try:
        yield from (text for text in read(path, field) if text.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"corpus file {str(path)!r} cannot be read as UTF-8 text: {error}") from error


def _plain(path: Path, field: str) -> Iterator[str]:
    """Paragraphs, put together until they are a page long, so that sequences are not cut at every line."""
    page: list[str] = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            page.append(line)
            if not line.strip() and sum(map(len, page)) >= _TEXT_CHARACTERS:
                yield "".join(page)
                page = []
    yield "".join(page)


def _jsonl(path: Path, field: str) -> Iterator[str]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                text = json.loads(line)[field]
            except (ValueError, KeyError, TypeError) as error:
                message = f"corpus file {str(path)!r}, line {number}: no JSON object with a field {field!r}"
                raise CorpusError(message) from error
            yield str(text)


def _parquet(path: Path, field: str) -> Iterator[str]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        message = (
            f"corpus file {str(path)!r}: Parquet needs the package pyarrow; install it (emmetd's extra `parquet`), "
            "or convert the file to JSONL"
        )
        raise CorpusError(message) from error
    with parquet.ParquetFile(path) as file:
        if field not in file.schema_arrow.names:
            known = ", ".join(file.schema_arrow.names)
            raise CorpusError(f"corpus file {str(path)!r} has no column {field!r}; it has {known}")
        for batch in file.iter_batches(batch_size=256, columns=[field]):
            yield from (str(text) for text in batch.column(0).to_pylist() if text is not None)


def _sequences(texts: Iterator[str], tokenizer: Tokenizer, length: int, held_out: bool) -> Iterator[Sequence[int]]:
    for number, text in enumerate(texts):
        if (number % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1) == held_out:
            ids = tokenizer.encode(text).ids
            for start in range(0, len(ids), length):
                yield ids[start : start + length]
