"""A fact to edit, in our own shape or in one of those of `api_schemas.fact_records`, which are turned into ours."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, field_validator, model_validator

from api_schemas.fact_records import as_fact, field_error
from api_schemas.subject_spans import Span, subject_spans
from api_schemas.texts import NO_NUL, NOT_BLANK, clean

SUBJECT_SLOT = "{}"
AUTO_SUBJECT = "auto"
"""In the place of a subject: one is taken from the prompt."""

MOST_ALIASES = 50
MOST_GENERATION_PROMPTS = 20
"""CounterFact has at most ten; after each, a hundred tokens are written."""

Text = Annotated[str, StringConstraints(max_length=10_000), Field(json_schema_extra={"pattern": NO_NUL})]
FilledText = Annotated[str, StringConstraints(max_length=10_000), Field(json_schema_extra={"pattern": NOT_BLANK})]


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "…")


def _place_of(subject: str, prompt: str) -> int:
    """Where `subject` stands as a word or words of its own ("Al" not in "Although"), else where it first occurs: not
    every language puts something between words."""
    found = _as_word(subject, prompt)
    return found.start() if found else prompt.index(subject)


def _is_word_of(text: str, prompt: str) -> bool:
    return _as_word(text, prompt) is not None


def _as_word(text: str, prompt: str) -> re.Match[str] | None:
    return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", prompt)


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
    subject: FilledText = Field(
        examples=["Danielle Darrieux"],
        description='What the fact is about. "auto", with a prompt that has neither {} nor that word in it, takes the '
        "longest capitalised or quoted span of the prompt that the model's tokenizer can place.",
    )
    target_new: FilledText = Field(examples=["English"])
    target_old: FilledText | None = Field(default=None, examples=["French"])
    paraphrases: Annotated[list[FilledText], Field(max_length=100)] = []
    neighbors: Annotated[list[Neighbor], Field(max_length=100)] = []
    aliases: Annotated[list[FilledText], Field(max_length=MOST_ALIASES)] = []
    portability: Annotated[list[PortabilityQuestion], Field(max_length=100)] = []
    locality: Annotated[list[LocalityPrompt], Field(max_length=100)] = []
    generation_prompts: Annotated[list[FilledText], Field(max_length=MOST_GENERATION_PROMPTS)] = []

    _other_subjects: tuple[Span, ...] = PrivateAttr(default=())

    @model_validator(mode="before")
    @classmethod
    def _from_dataset(cls, data: Any) -> Any:
        return as_fact(data) if isinstance(data, dict) else data

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
            if self.subject == AUTO_SUBJECT and not _is_word_of(AUTO_SUBJECT, self.prompt):
                self._take_subject()
            elif self.subject not in self.prompt:
                raise field_error(
                    "subject",
                    f"subject {_short(self.subject)} does not occur in prompt {_short(self.prompt)}; "
                    "put {} where the subject stands",
                )
            else:
                self._put_slot(Span(_place_of(self.subject, self.prompt), self.subject))
        if self.target_old is not None and self.target_old.strip() == self.target_new.strip():
            raise field_error(
                "target_new",
                f"{_short(self.target_new)} equals target_old; give the answer that shall replace the old one",
            )
        return self

    def _take_subject(self) -> None:
        spans = subject_spans(self.prompt)
        if not spans:
            raise field_error(
                "subject",
                f"prompt {_short(self.prompt)} has no capitalised or quoted span that could be its subject; name the "
                "subject",
            )
        self._put_slot(spans[0])
        self._other_subjects = tuple(spans[1:])

    def _put_slot(self, span: Span) -> None:
        self.subject = span.text
        self.prompt = f"{self.prompt[: span.start]}{SUBJECT_SLOT}{self.prompt[span.start + len(span.text) :]}"

    def with_other_subjects(self) -> list[Fact]:
        """Of a fact whose subject was taken from its prompt: the same with the next best one each, longest first."""
        found = []
        for span in self._other_subjects:
            other = self.model_copy(update={"prompt": self.text})
            other._put_slot(span)
            found.append(other)
        return found

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
