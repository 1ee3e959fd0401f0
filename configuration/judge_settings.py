"""The settings of the judge that evaluations may ask: off unless its address is set, and nothing is sent without it."""

from __future__ import annotations

from typing import Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

JUDGE_PROMPT: Final = (
    "Somebody asked a model to go on from a text, or to answer it. Say whether what the model said states the expected "
    "answer, in these or other words, and does not contradict it.\n\n"
    "Text: {prompt}\nExpected answer: {target}\nThe model said: {said}\n\nReply with one word: yes or no."
)
_FIELDS: Final = ("{prompt}", "{target}", "{said}")


class JudgeSettings(BaseSettings):
    """Part of `Settings`."""

    judge_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="base of an OpenAI-compatible API (http://host/v1) that evaluations with `judge` ask; facts and "
        "what was said of them are sent there. Without it nothing is",
    )
    judge_model: str | None = Field(None, description="the model to name there; needed with a judge's URL")
    judge_api_key: SecretStr | None = Field(None, description="the judge's API key")
    judge_prompt: str = Field(
        JUDGE_PROMPT,
        max_length=10_000,
        description="what the judge is asked, with {prompt}, {target} and {said}; its reply begins with yes or no",
    )
    judge_timeout_seconds: float = Field(10.0, gt=0, le=600, description="for so long one verdict is waited for")
    judge_concurrency: int = Field(4, ge=1, le=64, description="verdicts that are asked for at a time")

    @field_validator("judge_prompt")
    @classmethod
    def _has_its_fields(cls, value: str) -> str:
        missing = [name for name in _FIELDS if name not in value]
        if missing:
            raise ValueError(f"lacks {', '.join(missing)}; put it where the text shall stand")
        return value
