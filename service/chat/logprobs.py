"""Log-probabilities in the shape of OpenAI's chat."""

from __future__ import annotations

from collections.abc import Sequence

from api_schemas.openai.chat import ChatLogprobs, ChatTokenLogprob, TokenLogprob
from configuration.redis.generation_messages import TokenInfo
from service.generation.token_texts import TokenTexts


def chat_logprobs(texts: TokenTexts, tokens: Sequence[TokenInfo]) -> ChatLogprobs:
    """`tokens` were generated, so that each has a log-probability."""
    content = []
    for token in tokens:
        assert token.logprob is not None
        own = _named(texts, token.id, token.logprob)
        top = [_named(texts, other, logprob) for other, logprob in token.top]
        content.append(ChatTokenLogprob(**own.model_dump(), top_logprobs=top))
    return ChatLogprobs(content=content)


def _named(texts: TokenTexts, token: int, logprob: float) -> TokenLogprob:
    return TokenLogprob(token=texts.text(token), logprob=logprob, bytes=texts.data(token))
