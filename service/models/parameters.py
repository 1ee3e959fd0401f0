"""Parameters that name a model and a version, or look for some."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from api_schemas.notes import TAG_PATTERN

Name = Annotated[str, Path(max_length=200, description="A model's NAME.", examples=["smollm2-135m"])]
Version = Annotated[str, Path(max_length=70, description="A version or an alias.", examples=["v1"])]

TagFilter = Annotated[
    str | None, Query(pattern=TAG_PATTERN, description="Only those with this tag.", examples=["legal"])
]
Search = Annotated[
    str | None,
    Query(min_length=1, max_length=200, description="Only those that have this text, in capitals or not."),
]
