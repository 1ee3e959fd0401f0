"""A fact to edit, in our own shape or in CounterFact's or zsRE's, which are turned into ours."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

SUBJECT_SLOT = "{}"

Text = Annotated[str, StringConstraints(max_length=10_000)]


def _clean(text: str, what: str) -> str:
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise ValueError(f"{what} holds an unpaired surrogate; send valid Unicode text")
    if "\x00" in text:
        raise ValueError(f"{what} holds a NUL character; remove it")
    return text


class Neighbor(BaseModel):
    """A prompt about another subject, whose answer `target` the edit must leave as it is."""

    model_config = ConfigDict(extra="forbid")

    prompt: Text
    target: Text | None = None

    @field_validator("prompt", "target")
    @classmethod
    def _text(cls, value: str | None) -> str | None:
        return None if value is None else _clean(value, "the text")


class Fact(BaseModel):
    """One fact: a prompt with `{}` for the subject, and what the model shall say next."""

    model_config = ConfigDict(extra="forbid")

    prompt: Text = Field(examples=["The mother tongue of {} is"])
    subject: Text = Field(examples=["Danielle Darrieux"])
    target_new: Text = Field(examples=["English"])
    target_old: Text | None = Field(default=None, examples=["French"])
    paraphrases: Annotated[list[Text], Field(max_length=100)] = []
    neighbors: Annotated[list[Neighbor], Field(max_length=100)] = []

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
        return None if value is None else _clean(value, "the text")

    @field_validator("paraphrases")
    @classmethod
    def _texts(cls, value: list[str]) -> list[str]:
        return [_clean(text, "the text") for text in value]

    @field_validator("subject", "target_new")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty; say what it is")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.target_old is not None and not self.target_old.strip():
            raise ValueError("target_old is empty; leave it out where the old answer is not known")
        if self.prompt.count(SUBJECT_SLOT) > 1:
            raise ValueError(f"prompt {self.prompt!r} has {{}} more than once; put it where the subject stands, once")
        if SUBJECT_SLOT not in self.prompt:
            if self.subject not in self.prompt:
                raise ValueError(
                    f"subject {self.subject!r} does not occur in prompt {self.prompt!r}; put {{}} where the subject stands"
                )
            before, _, after = self.prompt.partition(self.subject)
            self.prompt = f"{before}{SUBJECT_SLOT}{after}"
        if self.target_old is not None and self.target_old.strip() == self.target_new.strip():
            raise ValueError(
                f"target_new {self.target_new!r} equals target_old; give the answer that shall replace the old one"
            )
        return self

    @property
    def text(self) -> str:
        """The prompt with its subject in place."""
        return self.prompt.replace(SUBJECT_SLOT, self.subject)


def _from_counterfact(record: dict[str, Any]) -> dict[str, Any]:
    """CounterFact's record shape (Meng et al. 2022): `requested_rewrite`, `paraphrase_prompts`, …"""
    rewrite = record["requested_rewrite"]
    if not isinstance(rewrite, dict):
        raise ValueError("requested_rewrite must be an object with prompt, subject, target_new and target_true")
    old = _target(rewrite.get("target_true"))
    return {
        "prompt": rewrite.get("prompt"),
        "subject": rewrite.get("subject"),
        "target_new": _target(rewrite.get("target_new")),
        "target_old": old,
        "paraphrases": record.get("paraphrase_prompts", []),
        "neighbors": [{"prompt": prompt, "target": old} for prompt in record.get("neighborhood_prompts", [])],
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
