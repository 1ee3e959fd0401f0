"""How the front end and the workers speak about generation: JSON on Redis streams, never pickle.

The front end tokenises, pins the version and appends a `GenerationRequest` to the model's stream; the worker that
claims it appends `GenerationEvent`s to the request's own reply stream, ending with one of kind `end` or `error`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

STREAM_FIELD: Final = "json"
"""The one field of every entry of these streams."""


class GenerationRequest(BaseModel):
    """One claimable piece of decoding: every prompt of one HTTP request, `n` choices each, on one version.

    Choice number i * n + j is the j-th of prompt i. `deadline` is seconds since the epoch: nobody listens after it.
    `traceparent` is where it stands in the trace of its HTTP request, if that has one.
    """

    # Errors that quoted their input would carry prompts into logs.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str
    model: str
    version: int
    prompts: Annotated[list[Annotated[list[int], Field(min_length=1)]], Field(min_length=1)]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    n: int = 1
    stop: list[str] = []
    seed: int | None = None
    logprobs: int | None = None
    echo: bool = False
    deadline: float
    traceparent: str | None = None

    @property
    def tells_prompts(self) -> bool:
        """Whether each choice begins with its prompt's tokens and their log-probabilities."""
        return self.echo and self.logprobs is not None


class TokenInfo(BaseModel):
    """One token with its log-probability (null for the first of a prompt) and those of the best ones, best first."""

    id: int
    logprob: float | None
    top: list[tuple[int, float]] = []


class TokensEvent(BaseModel):
    """Text that became certain for a choice; `tokens` only where log-probabilities were asked for."""

    kind: Literal["tokens"] = "tokens"
    choice: int
    text: str
    count: int
    tokens: list[TokenInfo] = []


class PromptEvent(BaseModel):
    """The prompt's own tokens, for `echo` with `logprobs`; comes before the choice's first `tokens`."""

    kind: Literal["prompt"] = "prompt"
    choice: int
    tokens: list[TokenInfo]


class FinishEvent(BaseModel):
    kind: Literal["finish"] = "finish"
    choice: int
    reason: Literal["stop", "length"]


class EndEvent(BaseModel):
    """All choices have finished, on the version that was asked for."""

    kind: Literal["end"] = "end"
    version: int


class ErrorEvent(BaseModel):
    """The request ends without an answer. `status` is the HTTP status that fits."""

    kind: Literal["error"] = "error"
    status: int
    code: str
    message: str


GenerationEvent = Annotated[
    TokensEvent | PromptEvent | FinishEvent | EndEvent | ErrorEvent, Field(discriminator="kind")
]
