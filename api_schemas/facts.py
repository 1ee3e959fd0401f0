"""A fact to edit, in our own shape or in CounterFact's or zsRE's, which are turned into ours."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from api_schemas.texts import NO_NUL, NOT_BLANK, clean

SUBJECT_SLOT = "{}"

MOST_ALIASES = 50
MOST_GENERATION_PROMPTS = 20
"""CounterFact has at most ten; after each, a hundred tokens are written."""

Text = Annotated[str, StringConstraints(max_length=10_000), Field(json_schema_extra={"pattern": NO_NUL})]
FilledText = Annotated[str, StringConstraints(max_length=10_000), Field(json_schema_extra={"pattern": NOT_BLANK})]


def field_error(field: str, message: str) -> PydanticCustomError:
    """An error of a whole object that is about one of its fields: whoever reports it adds `field` to the location."""
    return PydanticCustomError("fact", "{message}", {"field": field, "message": message})


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "…")


def _place_of(subject: str, prompt: str) -> int:
    """Where `subject` stands as a word or words of its own ("Al" not in "Although"), else where it first occurs: not
    every language puts something between words."""
    found = re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", prompt)
    return found.start() if found else prompt.index(subject)


class Neighbor(BaseModel):
    """A prompt about another subject, whose answer `target` the edit must leave as it is."""

    model_config = ConfigDict(extra="forbid")

    prompt: FilledText
    target: Text | None = None

    @field_validator("prompt", "target")
    @classmethod
    def _text(cls, value: str | None) -> str | None:
        return None if value is None else clean(value)


class PortabilityQuestion(BaseModel):
    """A prompt whose answer follows from the fact, such as a question of several hops: `target` once it is edited.

    Other wordings of it, `aliases`, count as well; `target_old` is what was right before.
    """

    model_config = ConfigDict(extra="forbid")

    prompt: FilledText
    target: FilledText
    target_old: FilledText | None = None
    aliases: Annotated[list[FilledText], Field(max_length=MOST_ALIASES)] = []

    @field_validator("prompt", "target", "target_old")
    @classmethod
    def _text(cls, value: str | None) -> str | None:
        return None if value is None else clean(value)

    @field_validator("aliases")
    @classmethod
    def _texts(cls, value: list[str]) -> list[str]:
        return [clean(text) for text in value]


class LocalityPrompt(BaseModel):
    """A prompt that must be answered as before the edit, whatever that answer was."""

    model_config = ConfigDict(extra="forbid")

    prompt: FilledText

    @field_validator("prompt")
    @classmethod
    def _text(cls, value: str) -> str:
        return clean(value)


class Fact(BaseModel):
    """One fact: a prompt with `{}` for the subject, and what the model shall say next."""

    # Facts are read again from where they are kept: an error there that quoted its input would be text in a log.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    prompt: Text = Field(examples=["The mother tongue of {} is"])
    subject: FilledText = Field(examples=["Danielle Darrieux"])
    target_new: FilledText = Field(examples=["English"])
    target_old: FilledText | None = Field(default=None, examples=["French"])
    paraphrases: Annotated[list[FilledText], Field(max_length=100)] = []
    neighbors: Annotated[list[Neighbor], Field(max_length=100)] = []
    aliases: Annotated[list[FilledText], Field(max_length=MOST_ALIASES)] = []
    portability: Annotated[list[PortabilityQuestion], Field(max_length=100)] = []
    locality: Annotated[list[LocalityPrompt], Field(max_length=100)] = []
    generation_prompts: Annotated[list[FilledText], Field(max_length=MOST_GENERATION_PROMPTS)] = []

    @model_validator(mode="before")
    @classmethod
    def _from_dataset(cls, data: Any) -> Any:
        if isinstance(data, dict):
            if "requested_rewrite" in data:
                return _from_counterfact(data)
            if "src" in data and "alt" in data:
                return _from_zsre(data)
        return data

    @field_validator("prompt", "subject", "target_new", "target_old")
    @classmethod
    def _text(cls, value: str | None) -> str | None:
        return None if value is None else clean(value)

    @field_validator("paraphrases", "aliases", "generation_prompts")
    @classmethod
    def _texts(cls, value: list[str]) -> list[str]:
        return [clean(text) for text in value]

    @field_validator("subject", "target_new")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty; say what it is")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.target_old is not None and not self.target_old.strip():
            raise field_error("target_old", "is empty; leave it out where the old answer is not known")
        if self.prompt.count(SUBJECT_SLOT) > 1:
            raise field_error(
                "prompt", f"{_short(self.prompt)} has {{}} more than once; put it where the subject stands, once"
            )
        if SUBJECT_SLOT not in self.prompt:
            if self.subject not in self.prompt:
                raise field_error(
                    "subject",
                    f"subject {_short(self.subject)} does not occur in prompt {_short(self.prompt)}; "
                    "put {} where the subject stands",
                )
            start = _place_of(self.subject, self.prompt)
            self.prompt = f"{self.prompt[:start]}{SUBJECT_SLOT}{self.prompt[start + len(self.subject) :]}"
        if self.target_old is not None and self.target_old.strip() == self.target_new.strip():
            raise field_error(
                "target_new",
                f"{_short(self.target_new)} equals target_old; give the answer that shall replace the old one",
            )
        return self

    @property
    def answers(self) -> list[str]:
        """The new target and its aliases: each is a right answer."""
        return [self.target_new, *self.aliases]

    @property
    def text(self) -> str:
        """The prompt with its subject in place."""
        return self.prompt.replace(SUBJECT_SLOT, self.subject)


def subject_key(subject: str) -> str:
    """What makes two subjects the same one: all but white space."""
    return " ".join(subject.split())


def question_key(prompt: str, subject: str) -> tuple[str, str]:
    """What makes two facts answers to the same question: prompt and subject."""
    return prompt.strip(), subject_key(subject)


def contradictions(facts: list[Fact]) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of facts with the same prompt and subject and different new targets."""
    first: dict[tuple[str, str], int] = {}
    pairs = []
    for index, fact in enumerate(facts):
        earlier = first.setdefault(question_key(fact.prompt, fact.subject), index)
        if facts[earlier].target_new.strip() != fact.target_new.strip():
            pairs.append((earlier, index))
    return pairs


def _from_counterfact(record: dict[str, Any]) -> dict[str, Any]:
    """CounterFact's record shape (Meng et al. 2022): `requested_rewrite`, `paraphrase_prompts`, …"""
    rewrite = record["requested_rewrite"]
    if not isinstance(rewrite, dict):
        raise field_error("requested_rewrite", "must be an object with prompt, subject, target_new and target_true")
    old = _target(rewrite.get("target_true"))
    neighborhood = record.get("neighborhood_prompts", [])
    if not isinstance(neighborhood, list):
        raise field_error("neighborhood_prompts", "must be a list of prompts")
    return {
        "prompt": rewrite.get("prompt"),
        "subject": rewrite.get("subject"),
        "target_new": _target(rewrite.get("target_new")),
        "target_old": old,
        "paraphrases": record.get("paraphrase_prompts", []),
        "neighbors": [{"prompt": prompt, "target": old} for prompt in neighborhood],
        "generation_prompts": record.get("generation_prompts", []),
    }


def _target(value: Any) -> Any:
    return value.get("str") if isinstance(value, dict) else value


def _from_zsre(record: dict[str, Any]) -> dict[str, Any]:
    """zsRE's record shape as in MEND (Mitchell et al. 2022): `src`, `alt`, `answers`, `rephrase`, `loc`, `loc_ans`."""
    answers = record.get("answers") or []
    old = answers[0] if isinstance(answers, list) and answers else None
    same = isinstance(old, str) and isinstance(record["alt"], str) and old.strip() == record["alt"].strip()
    rephrase, loc = record.get("rephrase"), record.get("loc")
    return {
        "prompt": record["src"],
        "subject": record.get("subject"),
        "target_new": record["alt"],
        "target_old": None if same else old,
        "paraphrases": [rephrase] if rephrase else [],
        "neighbors": [{"prompt": loc, "target": record.get("loc_ans")}] if loc else [],
    }


FactList = Annotated[list[Fact], Field(json_schema_extra={"minItems": 1})]
"""As it is sent: how many facts are taken at once is the server's setting."""


class NumberedFact(Fact):
    """A fact as it was kept, with its index in the batch."""

    index: int


class FactPlace(BaseModel):
    """Fact `index` of the batch `edit`, which made `version`."""

    edit: str
    version: str
    index: int


class FactOrigin(BaseModel):
    """The fact that one of a consolidation stands for: `index` of the batch `edit`. `version` is null where that batch
    is not known here, since the version came from another installation."""

    edit: str
    version: str | None
    index: int


class EditFact(NumberedFact):
    """A fact of a batch. `supersedes` is the fact of its parent's lineage with the same prompt and subject.

    It is the answer that comes back where this one is reverted. Null before the batch has a parent.
    """

    supersedes: FactPlace | None


class FactPage(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    data: list[EditFact]
    next_cursor: str | None
