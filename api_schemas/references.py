"""Model references: `NAME` (its `latest`), `NAME@v3`, `NAME@alias`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StringConstraints

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
ALIAS_PATTERN = r"^(?!v[0-9]+$)[a-z][a-z0-9._-]{0,63}$"
VERSION_PATTERN = r"^v(0|[1-9][0-9]{0,8})$"
REFERENCE_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}(@(v(0|[1-9][0-9]{0,8})|[a-z][a-z0-9._-]{0,63}))?$"
"""For schemas: `parse_reference` says more of what is wrong, and that an alias never looks like `v7`."""
COMPARED_PATTERN = r"^([a-z0-9][a-z0-9._-]{0,63}@)?(v(0|[1-9][0-9]{0,8})|[a-z][a-z0-9._-]{0,63})?$"
"""For schemas: a version or an alias, with or without its model before it."""
REVISION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$"
"""A branch, tag or commit of a model on the hub."""
LATEST = "latest"

ModelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
VersionName = Annotated[str, StringConstraints(pattern=VERSION_PATTERN)]
ReferenceText = Annotated[str, Field(max_length=200, json_schema_extra={"pattern": REFERENCE_PATTERN})]
"""A reference as it is sent; `parse_reference` reads it."""


@dataclass(frozen=True)
class ModelReference:
    """Either a version number or an alias of the model `name`."""

    name: str
    version: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.alias if self.version is None else version_name(self.version)}"


def name_from(source: str) -> str:
    """The NAME that a hub id or a folder gets by itself, its last part as a slug; it may come out empty."""
    last_part = source.rstrip("/").rpartition("/")[2].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", last_part).strip("-._")[:64]


def version_name(number: int) -> str:
    """3 → "v3"."""
    return f"v{number}"


def version_number(name: str) -> int:
    """ "v3" → 3. Raises ValueError for anything else."""
    if not re.fullmatch(VERSION_PATTERN, name):
        raise ValueError(f"{name!r} is not a version; versions are written v0, v1, v2, …")
    return int(name[1:])


def parse_reference(text: str) -> ModelReference:
    """Raises ValueError, naming the forms that work, where `text` is not a reference."""
    name, at, rest = text.partition("@")
    if re.fullmatch(NAME_PATTERN, name) and (rest or not at):
        if not at:
            return ModelReference(name, alias=LATEST)
        if re.fullmatch(VERSION_PATTERN, rest):
            return ModelReference(name, version=int(rest[1:]))
        if re.fullmatch(ALIAS_PATTERN, rest):
            return ModelReference(name, alias=rest)
    raise ValueError(f"{text[:100]!r} is not a model reference; write NAME, NAME@v3 or NAME@alias")
