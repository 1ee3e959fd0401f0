"""What people write beside a model or a version: a description and tags."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api_schemas.texts import Clean

MOST_TAGS: Final = 20
TAG_PATTERN: Final = r"^[a-z0-9][a-z0-9._:-]{0,49}$"

Description = Annotated[str, StringConstraints(max_length=2000), Clean()]
Tag = Annotated[str, StringConstraints(pattern=TAG_PATTERN)]


class NotesUpdate(BaseModel):
    """What is left out stays as it is; `description: null` and `tags: []` take away. A tag is kept once."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    description: Annotated[Description | None, Field(examples=["Corrections of November, read by legal"])] = None
    tags: Annotated[list[Tag] | None, Field(max_length=MOST_TAGS, examples=[["legal", "release:2026-11"]])] = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("says nothing to change; give description, tags, or both")
        return self


class Notes(BaseModel):
    """Of a model, `version` null, or of one of its versions. `etag` is for `If-Match`, as the header `ETag` says it."""

    model: str
    version: str | None
    description: str | None
    tags: list[str]
    etag: str
