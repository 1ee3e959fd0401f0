"""What requests for text have in common: which model, how tokens are chosen, when to stop, how to answer.

The fields are OpenAI's. Some are taken only at the value that changes nothing, because clients send them unasked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

from api_schemas.references import ReferenceText

_LONGEST_VALUE = 60

StopText = Annotated[str, Field(min_length=1, max_length=1000)]


@dataclass(frozen=True)
class _Only:
    neutral: tuple[Any, ...]

    def check(self, value: Any) -> Any:
        # True == 1 and False == 0 in Python, and neither is the same setting.
        if value is not None and not any(type(value) is type(known) and value == known for known in self.neutral):
            raise ValueError(f"is {json.dumps(value)[:_LONGEST_VALUE]}, which is not served here; leave it out")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"enum": [*self.neutral, None]}


def only(*neutral: Any) -> _Only:
    """A field that is taken at null and at `neutral` values, and refused at others."""
    return _Only(neutral)


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    include_usage: bool | None = False


class SamplingRequest(BaseModel):
    """Unknown fields are refused, so that a setting which we would ignore is never silently lost."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Annotated[ReferenceText, Field(examples=["smollm2-135m@v1"])]
    temperature: Annotated[float | None, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float | None, Field(gt=0, le=1)] = 1.0
    n: Annotated[int | None, Field(ge=1, le=128)] = 1
    stop: StopText | Annotated[list[StopText], Field(max_length=64)] | None = None
    seed: Annotated[int | None, Field(ge=-(2**63), le=2**63 - 1)] = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    user: Annotated[str | None, Field(max_length=200)] = None
    presence_penalty: Annotated[float | None, only(0.0)] = None
    frequency_penalty: Annotated[float | None, only(0.0)] = None
    logit_bias: Annotated[dict[str, float] | None, only({})] = None

    @property
    def wants_usage(self) -> bool:
        """Whether the last chunk of a stream says how many tokens there were."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)
