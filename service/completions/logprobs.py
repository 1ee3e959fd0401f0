"""Log-probabilities in the shape of OpenAI's completions."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Final

from api_schemas.openai.completions import Logprobs
from configuration.redis.generation_messages import TokenInfo
from service.generation.token_texts import TokenTexts

_DECODER: Final = codecs.getincrementaldecoder("utf-8")


class LogprobsWriter:
    """Writes the tokens of one choice, some at a time; each has its offset in the choice's whole text."""

    def __init__(self, texts: TokenTexts, asked: int) -> None:
        self._texts = texts
        self._asked = asked
        self._offset = 0
        self._characters = _DECODER("replace")

    def write(self, tokens: Sequence[TokenInfo], added: frozenset[int] = frozenset()) -> Logprobs:
        """`added` are the indices of tokens that the tokenizer added, which the text has not.

        Tokens that are parts of one character have the offset at which it stands.
        """
        texts = [self._texts.text(token.id) for token in tokens]
        offsets = []
        for number, (token, text) in enumerate(zip(tokens, texts, strict=True)):
            offsets.append(self._offset)
            if number not in added:
                data = self._texts.data(token.id)
                self._offset += len(text if data is None else self._characters.decode(bytes(data)))
        return Logprobs(
            tokens=texts,
            token_logprobs=[token.logprob for token in tokens],
            top_logprobs=[self._top(token) for token in tokens] if self._asked else None,
            text_offset=offsets,
        )

    def _top(self, token: TokenInfo) -> dict[str, float] | None:
        """The best tokens and the token itself, by text. Where two have the same text, it is the better one's."""
        if token.logprob is None:
            return None
        top: dict[str, float] = {}
        for other, logprob in [*token.top, (token.id, token.logprob)]:
            top.setdefault(self._texts.text(other), logprob)
        return top
