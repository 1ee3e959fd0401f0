"""A sequence: one choice of one request while it is decoded, with its prompt, settings and text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from configuration.redis.generation_messages import (
    ErrorEvent,
    FinishEvent,
    GenerationEvent,
    GenerationRequest,
    PromptEvent,
    TokenInfo,
    TokensEvent,
)
from editing.model.projection import Matrices
from workers.generation.detokenizer import Detokenizer
from workers.generation.sampling import generator_for, sample_token

TokenLogprobs = tuple[float, list[tuple[int, float]]]
"""A token's log-probability, and the ids of the best tokens there with theirs, best first."""


class DecodeSequence:
    """Prompt, settings, random generator and text of one choice; `matrices` are those of its pinned version.

    The sequence holds its matrices itself, so that nothing that happens to the version elsewhere changes an answer
    midway.
    """

    def __init__(self, request: GenerationRequest, choice: int, matrices: Matrices, tokenizer: Tokenizer) -> None:
        self.request = request
        self.choice = choice
        self.matrices = matrices
        self.prompt = request.prompts[choice // request.n]
        self.last_token = self.prompt[-1]
        self.generated = 0
        self.is_finished = False
        self._detokenizer = Detokenizer(tokenizer, self.prompt, request.stop)
        # By its place among the choices of its prompt: a prompt gives the same texts alone and in a list.
        self._generator = generator_for(request.seed, choice % request.n)

    @property
    def prompt_number(self) -> int:
        """Which of the request's prompts it goes on from."""
        return self.choice // self.request.n

    @property
    def length(self) -> int:
        """Tokens read and written so far."""
        return len(self.prompt) + self.generated

    @property
    def most_tokens(self) -> int:
        """Slots of the key-value cache that the sequence may come to need."""
        return len(self.prompt) + self.request.max_tokens

    def prompt_event(self, logprobs: Sequence[TokenLogprobs]) -> PromptEvent:
        """The prompt's tokens with `logprobs` of each but the first."""
        infos = [TokenInfo(id=self.prompt[0], logprob=None)]
        for token, (value, best) in zip(self.prompt[1:], logprobs, strict=True):
            infos.append(TokenInfo(id=token, logprob=value, top=best))
        return PromptEvent(choice=self.choice, tokens=infos)

    def fail(self, message: str, status: int = 500, code: str = "generation_failed") -> list[GenerationEvent]:
        """The sequence ends without an answer, and with it its request; `message` is told to the client."""
        self.is_finished = True
        return [ErrorEvent(status=status, code=code, message=message)]

    def advance(self, logits: Tensor, best: int, end_tokens: frozenset[int]) -> list[GenerationEvent]:
        """Choose the next token from `logits` (vocabulary,), float32, and say what became certain with it.

        `best` is the token of the highest one.
        """
        request = self.request
        if request.max_tokens == 0:
            self.is_finished = True
            return [FinishEvent(choice=self.choice, reason="length")]
        token = best
        if request.temperature > 0:
            token = sample_token(logits, request.temperature, request.top_p, self._generator)
        infos = []
        if request.logprobs is not None:
            ((value, top),) = token_logprobs(logits[None], [token], request.logprobs)
            infos = [TokenInfo(id=token, logprob=value, top=top)]
        self.last_token, self.generated = token, self.generated + 1
        ended = token in end_tokens
        text = "" if ended else self._detokenizer.push(token)
        self.is_finished = ended or self._detokenizer.stopped or self.generated >= request.max_tokens
        if self.is_finished and not self._detokenizer.stopped:
            text += self._detokenizer.finish()
        events: list[GenerationEvent] = [TokensEvent(choice=self.choice, text=text, count=1, tokens=infos)]
        if self.is_finished:
            events.append(
                FinishEvent(choice=self.choice, reason="stop" if ended or self._detokenizer.stopped else "length")
            )
        return events


def token_logprobs(logits: Tensor, tokens: Sequence[int], top: int) -> list[TokenLogprobs]:
    """For each row of `logits` (T, vocabulary): its token's log-probability, and the `top` best."""
    logprobs = torch.log_softmax(logits, dim=-1)
    own = logprobs.gather(1, torch.tensor(tokens, device=logits.device)[:, None])[:, 0].tolist()
    if top == 0:
        return [(value, []) for value in own]
    values, ids = logprobs.topk(top)
    best = [list(zip(i, v, strict=True)) for i, v in zip(ids.tolist(), values.tolist(), strict=True)]
    return list(zip(own, best, strict=True))
