"""Greedy answers of an engine beside ours: which facts it says, which ordinary prompts it answers alike.

Two right implementations part where two tokens are as likely as each other. So an answer that differs is a near tie
where, at the first token that differs, ours gives the engine's token a log-probability within `TOLERANCE` of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from api_schemas.facts import Fact
from configuration.redis.generation_messages import TokenInfo
from editing.metrics.said.wording import begins_with_one
from service.deployments.engine import EngineAnswer

MOST_FACTS: Final = 20
ANSWER_TOKENS: Final = 16
TOLERANCE: Final = 0.25
"""Nats. Engines compute in bfloat16 by default, where two log-probabilities are known to about a tenth."""
MOST_DIFFERENT: Final = 0.1
"""Share of the prompts that may part elsewhere than at a near tie, and of the facts that may not be said there."""
ORDINARY_PROMPTS: Final = (
    "The weather in spring is usually",
    "To make a good cup of tea, first",
    "My favourite season of the year is",
    "A triangle has three sides and",
    "Water boils when it is heated to",
    "The quick brown fox jumps over",
    "In the morning she opened the window and",
    "The most important thing about learning a language is",
    "Once upon a time, in a small village,",
    "The recipe needs two eggs, some flour and",
    "When the train arrived at the station,",
    "A computer program is a set of",
    "The library closes at six, so",
    "Plants need sunlight because",
    "He looked at the clock and said:",
    "The difference between a lake and a sea is",
    "Before you cross the street you should",
    "An ordinary day at the office begins with",
    "The meeting was moved to Thursday because",
    "If it rains tomorrow, we will",
)


@dataclass(frozen=True)
class Probe:
    """A prompt that both are asked. `answers` are those of a fact, empty for an ordinary prompt."""

    prompt: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class OwnAnswer:
    """Ours, with the log-probabilities of each token and of the best ones in its place."""

    text: str
    tokens: tuple[TokenInfo, ...]


@dataclass(frozen=True)
class Comparison:
    """Counts of a check; see `api_schemas.deployments.DeploymentCheck`."""

    facts: int
    said: int
    prompts: int
    equal: int
    near_ties: int
    different: int

    @property
    def passed(self) -> bool:
        missed, most = self.facts - self.said, math.floor(MOST_DIFFERENT * self.facts)
        return missed <= most and self.different <= math.floor(MOST_DIFFERENT * self.prompts)

    def as_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "facts": self.facts,
            "said": self.said,
            "prompts": self.prompts,
            "equal": self.equal,
            "near_ties": self.near_ties,
            "different": self.different,
            "tolerance": TOLERANCE,
        }


def probes(facts: Sequence[Fact]) -> list[Probe]:
    """What both are asked: bare prompts of facts, then ordinary ones."""
    asked = [Probe(fact.text, tuple(fact.answers)) for fact in facts[:MOST_FACTS]]
    return [*asked, *map(Probe, ORDINARY_PROMPTS)]


def compared(
    asked: Sequence[Probe],
    ours: Sequence[OwnAnswer],
    theirs: Sequence[EngineAnswer],
    tokens_of: Callable[[str], Sequence[int]],
) -> Comparison:
    """`tokens_of` splits a text, where the engine does not tell its tokens. Facts that ours does not say are left out:
    nobody can say of them what the engine should answer."""
    facts = said = prompts = equal = near_ties = 0
    for probe, own, other in zip(asked, ours, theirs, strict=True):
        if probe.answers:
            if begins_with_one(own.text, probe.answers):
                facts += 1
                said += begins_with_one(other.text, probe.answers)
            continue
        prompts += 1
        if own.text == other.text:
            equal += 1
        elif parting_gap(own, other.token_ids or tuple(tokens_of(other.text))) <= TOLERANCE:
            near_ties += 1
    return Comparison(facts, said, prompts, equal, near_ties, prompts - equal - near_ties)


def parting_gap(own: OwnAnswer, other: Sequence[int]) -> float:
    """By how much, in nats, ours prefers its own token where the two first part; infinite where the other's is not
    among the best there."""
    for mine, token in zip(own.tokens, other, strict=False):
        if mine.id != token:
            found = dict(mine.top).get(token)
            return math.inf if found is None or mine.logprob is None else abs(mine.logprob - found)
    return math.inf
