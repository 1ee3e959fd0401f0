"""The settings about ordinary text: what C0 may be made from, and what it is made from by default."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, ByteSize, Field, PositiveInt, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

SELF_SAMPLED: Final = "self"
"""The corpus that is always there: text that the model writes itself."""

DEFAULT_FIELD: Final = "text"
_MOMENTS: Final = "moments:"

_NAME: Final = r"[a-z0-9][a-z0-9._-]{0,63}"
_DATA_SET: Final = re.compile(r"hf://datasets/(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<files>.+))?")
_FIELD: Final = re.compile(r"(?P<source>.*?)(#field=(?P<field>[^#]+))?", re.DOTALL)


@dataclass(frozen=True)
class CorpusFile:
    """A file on the worker's machine: plain text, .jsonl or .parquet with a document in `field` of each record."""

    path: Path
    field: str


@dataclass(frozen=True)
class CorpusDataSet:
    """Files of a data set on the Hugging Face hub, at a commit."""

    data_set: str
    revision: str
    files: str
    field: str


@dataclass(frozen=True)
class CorpusMoments:
    """A folder on the worker's machine with second moments that were published, a file a layer."""

    path: Path


def read_corpus(text: str) -> CorpusFile | CorpusDataSet | CorpusMoments:
    """`/path/to/file`, or `hf://datasets/OWNER/NAME@REVISION/FILES`; either may end in `#field=NAME`. Or
    `moments:/path/to/folder`.

    Raises ValueError saying how to write it.
    """
    parts = _FIELD.fullmatch(text.strip())
    assert parts is not None  # it takes any text
    source, field = parts["source"], parts["field"] or DEFAULT_FIELD
    if not source:
        raise ValueError("it is empty; give a file, hf://datasets/OWNER/NAME@REVISION/FILES, or moments:FOLDER")
    if source.startswith(_MOMENTS):
        if not source.removeprefix(_MOMENTS):
            raise ValueError("it names no folder; write moments:/path/to/folder")
        return CorpusMoments(Path(source.removeprefix(_MOMENTS)).expanduser().absolute())
    if "://" not in source:
        return CorpusFile(Path(source).expanduser().absolute(), field)
    found = _DATA_SET.fullmatch(source)
    if found is None:
        raise ValueError(f"{source!r} is neither a file nor hf://datasets/OWNER/NAME@REVISION/FILES")
    if found["revision"] is None:
        raise ValueError(f"{source!r} says no revision; pin one: hf://datasets/{found['id']}@COMMIT")
    return CorpusDataSet(found["id"], found["revision"], found["files"] or "*train*.parquet", field)


def _mapping(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('it is not JSON; write {"NAME": "/path/to/text.jsonl"}') from None


class CorpusSettings(BaseSettings):
    """Part of `Settings`."""

    corpora: Annotated[dict[str, str], NoDecode, BeforeValidator(_mapping)] = Field(
        {},
        description="text that C0 may be made from, by name: files (text, .jsonl, .parquet) or "
        "hf://datasets/OWNER/NAME@REVISION/FILES, each with #field=NAME where documents are not in `text`; or "
        "moments:FOLDER, second moments as ROME's authors publish them, a file a layer; "
        "a table in TOML, JSON in a variable",
    )
    corpus: str = Field(
        SELF_SAMPLED,
        description=f"what C0 of edits is made from, and drift measured on: {SELF_SAMPLED} (text that the model "
        "writes), or a name of corpora",
    )
    corpus_tokens: PositiveInt | None = Field(
        None, description="tokens that C0 of edits is made from; by default ten for each input of the edited matrix"
    )
    held_out_cache_bytes: ByteSize = Field(
        ByteSize(64 * 1024**2),
        ge=0,
        description="bytes that a worker may keep of the text that drift is measured on, as it stands below the first "
        "edited layer, where it is the same for all versions; 0 keeps nothing",
    )
    statistic_share_bytes: ByteSize = Field(
        ByteSize(256 * 1024**2),
        ge=0,
        description="bytes of one layer's C0, made on request, up to which it goes to the blob store for all workers",
    )

    @field_validator("corpora")
    @classmethod
    def _readable(cls, corpora: dict[str, str]) -> dict[str, str]:
        for name, source in corpora.items():
            if not re.fullmatch(_NAME, name) or name == SELF_SAMPLED:
                raise ValueError(
                    f"{name!r} cannot be a corpus's name; use lower-case letters, digits, '.', '_' and '-'"
                )
            try:
                read_corpus(source)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return {name: _absolute(source) for name, source in corpora.items()}

    @model_validator(mode="after")
    def _configured(self) -> Self:
        if self.corpus not in self.corpus_names:
            known = ", ".join(self.corpus_names)
            raise ValueError(f"corpus = {self.corpus!r} is not among corpora; known: {known}")
        return self

    @property
    def corpus_names(self) -> list[str]:
        return [SELF_SAMPLED, *self.corpora]


def _absolute(source: str) -> str:
    """Child processes are given paths and may run elsewhere."""
    found = read_corpus(source)
    if isinstance(found, CorpusDataSet):
        return source
    if isinstance(found, CorpusMoments):
        return f"{_MOMENTS}{found.path}"
    return str(found.path) if found.field == DEFAULT_FIELD else f"{found.path}#field={found.field}"
