"""What this server answers itself: the same prompts, greedily, at the version that was deployed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Final

from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from api_schemas.facts import Fact
from api_schemas.references import version_name
from configuration.redis.generation_messages import GenerationRequest, TokenInfo, TokensEvent
from service.deployments.comparison import MOST_FACTS, OwnAnswer
from service.generation.exchange import release, replies, submit
from service.generation.pinning import PinnedModel, pin
from service.generation.submission import ANSWER_SECONDS
from service.resources import Resources
from store.lineage.retained_sample import sample_in_force

_TOP: Final = 5
_SEED: Final = 0


async def own_answers(
    resources: Resources, model: str, version: int, prompts: Sequence[str], tokens: int
) -> list[OwnAnswer]:
    """Raises ServiceError where no worker can answer, and RedisError."""
    pinned = await run_in_threadpool(pin, resources, f"{model}@{version_name(version)}")
    request = _request(pinned, prompts, tokens)
    texts = [""] * len(prompts)
    infos: list[list[TokenInfo]] = [[] for _ in prompts]
    finished = False
    try:
        async with aclosing(replies(resources, await submit(resources, request))) as events:
            async for event in events:
                if isinstance(event, TokensEvent):
                    texts[event.choice] += event.text
                    infos[event.choice] += event.tokens
        finished = True
    finally:
        with suppress(RedisError, OSError):
            await release(resources, request, finished=finished)
    return [OwnAnswer(text, tuple(info)) for text, info in zip(texts, infos, strict=True)]


def sampled_facts(resources: Resources, model: str, version: int) -> list[Fact]:
    """Facts that the version says, of all ages; fewer where their texts were removed."""
    with resources.database.reading() as session:
        found = sample_in_force(session, model, version, MOST_FACTS, _SEED)
    return [Fact.model_validate(one.fact) for one in found]


def _request(pinned: PinnedModel, prompts: Sequence[str], tokens: int) -> GenerationRequest:
    encoded = pinned.model.tokenizer.encode_batch(list(prompts))
    return GenerationRequest(
        id=f"check-{secrets.token_hex(12)}",
        model=pinned.model.name,
        version=pinned.version,
        prompts=[one.ids for one in encoded],
        max_tokens=tokens,
        temperature=0.0,
        logprobs=_TOP,
        deadline=time.time() + ANSWER_SECONDS,
    )
