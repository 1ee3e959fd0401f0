"""The columns of what people write beside a model or a version. Every change here comes with a migration."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Text
from sqlalchemy.orm import Mapped, mapped_column


class Noted:
    """A description and tags, which change while the model or version stays as it is. Null tags are none."""

    description: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
