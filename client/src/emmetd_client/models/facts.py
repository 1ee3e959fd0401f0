"""Facts: what is sent, and as the server gives them back."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from emmetd_client.models.answers import Answer


class Neighbor(BaseModel):
    """A prompt about another subject, whose answer `target` the edit must leave as it is."""

    model_config = ConfigDict(extra="allow")

    prompt: str
    target: str | None = None


class Fact(BaseModel):
    """One fact: a prompt with `{}` for the subject, and what the model shall say next.

    `aliases` are other names of the subject; `portability` and `locality` are prompts to measure with, and
    `generation_prompts` texts after which it shall be said.
    """

    model_config = ConfigDict(extra="allow")

    prompt: str
    subject: str
    target_new: str
    target_old: str | None = None
    paraphrases: list[str] | None = None
    neighbors: list[Neighbor] | None = None
    aliases: list[str] | None = None
    portability: list[dict[str, Any]] | None = None
    locality: list[dict[str, Any]] | None = None
    generation_prompts: list[str] | None = None


class FactPlace(Answer):
    """Fact `index` of the batch `edit`, which made `version`."""

    edit: str
    version: str
    index: int


class KeptFact(Answer):
    """A fact as the server keeps it, with its index in its batch."""

    index: int
    prompt: str
    subject: str
    target_new: str
    target_old: str | None = None
    paraphrases: list[str] = []
    neighbors: list[Neighbor] = []
    supersedes: FactPlace | None = None


class VersionFact(KeptFact):
    """A fact of a version's lineage: where it came in, and what became of it (`in_force`, `superseded`, `reverted`)."""

    edit: str
    version: str
    state: str
    reverted_by: str | None = None
    superseded_by: FactPlace | None = None
