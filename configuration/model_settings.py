"""The settings about which model is served, where it comes from, and what may be registered over the API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from api_schemas.references import NAME_PATTERN, REVISION_PATTERN, name_from
from configuration.access_settings import separated

DEFAULT_MODEL: Final = "smollm2-135m"


class ModelSettings(BaseSettings):
    """Part of `Settings`."""

    model: str = Field(
        DEFAULT_MODEL,
        min_length=1,
        description="the model to serve: smollm2-135m, a hub id like HuggingFaceTB/SmolLM2-360M-Instruct or a folder; "
        "a worker whose NAME is registered takes the registered one by default",
    )
    model_name: str | None = Field(
        None, description="the NAME that requests use: lower-case letters, digits, '.', '_' and '-', at most 64"
    )
    revision: str | None = Field(
        None,
        description="branch, tag or commit of the model on the hub; by default the commit that its NAME is registered "
        "with, else its main branch as it is when it is first fetched",
    )
    hf_token: SecretStr | None = Field(None, description="Hugging Face token for gated models")
    model_folders: str = Field(
        "",
        description="folders whose models may be registered over the API, as absolute paths, separated by commas; by "
        "default none",
    )

    @field_validator("model_name")
    @classmethod
    def _slug(cls, name: str | None) -> str | None:
        if name is not None and not re.match(NAME_PATTERN, name):
            raise ValueError("it is not a NAME that a request could carry")
        return name

    @field_validator("revision")
    @classmethod
    def _known_form(cls, revision: str | None) -> str | None:
        if revision is not None and not re.match(REVISION_PATTERN, revision):
            raise ValueError("no branch, tag or commit is written like that")
        return revision

    @field_validator("model_folders")
    @classmethod
    def _absolute_folders(cls, text: str) -> str:
        for part in separated(text):
            if not Path(part).expanduser().is_absolute():
                raise ValueError(f"{part!r} is not an absolute path")
        return text

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if not re.match(NAME_PATTERN, self.served_model_name):
            raise ValueError(f"model = {self.model!r} gives no usable NAME; choose one with EMMETD_MODEL_NAME")
        return self

    @property
    def served_model_name(self) -> str:
        """The NAME of the model in requests: `model_name`, or the last part of `model` as a slug."""
        return self.model_name if self.model_name is not None else name_from(self.model)

    @property
    def allowed_model_folders(self) -> tuple[Path, ...]:
        """The folders in `model_folders`."""
        return tuple(Path(part).expanduser() for part in separated(self.model_folders))
