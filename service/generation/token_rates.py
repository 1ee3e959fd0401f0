"""What one completion takes of its key's tokens a minute."""

from __future__ import annotations

from fastapi.concurrency import run_in_threadpool

from configuration.redis.generation_messages import GenerationEvent, GenerationRequest, TokensEvent
from service.resources import Resources


class TokenAccount:
    """Sets aside the most that a request can take, counts what it takes, and gives the rest back at its end."""

    def __init__(self, resources: Resources, generation: GenerationRequest) -> None:
        self._resources = resources
        self._limited = resources.caller.limits.tokens_per_minute > 0
        choices = len(generation.prompts) * generation.n
        # With log-probabilities an echoed prompt is told for each of its choices.
        times = generation.n if generation.tells_prompts else 1
        self._prompts = times * sum(map(len, generation.prompts))
        self._left = choices * generation.max_tokens

    async def open(self) -> None:
        """Raises LimitReachedError."""
        if self._limited:
            wanted = self._prompts + self._left
            await run_in_threadpool(self._resources.rates.take_tokens, self._resources.caller, wanted)

    def count(self, event: GenerationEvent) -> None:
        if isinstance(event, TokensEvent):
            self._left -= event.count

    async def close(self) -> None:
        """Give back what was not taken; once, however often it is called."""
        left, self._left = self._left, 0
        if self._limited and left:
            await run_in_threadpool(self._resources.rates.give_back_tokens, self._resources.caller, left)
