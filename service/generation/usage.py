"""Counts the tokens of a request, for its `usage`."""

from __future__ import annotations

from api_schemas.openai.completions import Usage
from configuration.redis.generation_messages import GenerationRequest


def usage(generation: GenerationRequest, completion_tokens: int) -> Usage:
    """Every prompt is counted once, however many choices it has."""
    prompt_tokens = sum(map(len, generation.prompts))
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
    )
