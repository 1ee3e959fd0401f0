"""The base of all answers: tolerant of fields that this release does not know."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Unknown fields stay readable as attributes, and are in `model_dump()`."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())

    def as_json(self) -> dict[str, Any]:
        """As the server said it."""
        return self.model_dump(mode="json", by_alias=True)
