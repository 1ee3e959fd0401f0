"""Where two greedy answers part: by how much one of them prefers its own token to the other's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A text, its tokens, and the best tokens of each place with their log-probabilities."""

    text: str
    tokens: Sequence[str]
    best: Sequence[Mapping[str, float]]

    @classmethod
    def of_choice(cls, choice: Mapping[str, Any]) -> Answer:
        """A choice of `/v1/completions`."""
        told = choice["logprobs"]
        return cls(choice["text"], told["tokens"], told["top_logprobs"])


def gap_where_they_part(own: Answer, other: str) -> float | None:
    """In nats; None where the other's token is not among the best there, or one of the texts only ends earlier."""
    begin = 0
    for token, best in zip(own.tokens, own.best, strict=True):
        rest = other[begin:]
        if rest.startswith(token):
            begin += len(token)
            continue
        # Of several tokens that the other may have said here, greedy decoders have said the longest.
        fitting = [one for one in best if one and one != token and rest.startswith(one)]
        return float(best[token] - best[max(fitting, key=len)]) if fitting else None
    return None
