"""What was seen of a version: the raw readings that metrics are computed from, fact by fact."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from api_schemas.facts import Fact


@dataclass(frozen=True)
class AnswerScore:
    """`log_probability` is the mean over the answer's tokens, in nats; `said`: each is the argmax where it stands."""

    log_probability: float
    said: bool


class Reading(Enum):
    """A kind of reading; evaluation makes only those that the metrics asked for need."""

    PROMPT = "answers scored at the fact's prompt"
    PARAPHRASES = "answers scored at its paraphrases"
    NEIGHBORS = "answers scored at its neighbors' prompts"
    GREEDY = "greedy continuation of the prompt, somewhat longer than the target"
    TEXT = "a sampled text of 100 tokens after the prompt"
    HELD_OUT = "perplexity on held-out text"


@dataclass(frozen=True)
class PromptReading:
    """One prompt: how probable the new target is after it, and the old one (a neighbor's own answer) where known."""

    prompt: str
    new: AnswerScore
    old: AnswerScore | None


@dataclass(frozen=True)
class FactReading:
    """All that was read for the fact at `index` of the list that was given; what was not asked for is None or empty."""

    index: int
    fact: Fact
    prompt: PromptReading | None = None
    paraphrases: tuple[PromptReading, ...] = ()
    neighbors: tuple[PromptReading, ...] = ()
    greedy: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Observations:
    """The readings of one version. `perplexity` is its own, `base_perplexity` the base's, over `held_out_tokens`."""

    facts: tuple[FactReading, ...]
    perplexity: float | None = None
    base_perplexity: float | None = None
    held_out_tokens: int = 0
