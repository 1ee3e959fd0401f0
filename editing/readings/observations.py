"""What was seen of a version: the raw readings that metrics are computed from, fact by fact."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from api_schemas.facts import Fact


@dataclass(frozen=True)
class AnswerScore:
    """`log_probability` is the mean over the answer's tokens, in nats; `said`: each is the argmax where it stands.

    `tokens_said` counts those of its tokens that are, and `predicted` has the argmax in each one's place.
    """

    log_probability: float
    said: bool
    tokens_said: int = 0
    predicted: tuple[int, ...] = ()

    @property
    def token_accuracy(self) -> float:
        """Share of the answer's tokens that are the argmax, all tokens before them given."""
        return self.tokens_said / len(self.predicted)


class Reading(Enum):
    """A kind of reading; evaluation makes only those that the metrics asked for need."""

    PROMPT = "answers scored at the fact's prompt"
    PARAPHRASES = "answers scored at its paraphrases"
    NEIGHBORS = "answers scored at its neighbors' prompts"
    NEIGHBORS_BEFORE = "the same by the version that is compared with"
    PORTABILITY = "answers scored at its portability questions"
    GREEDY = "greedy continuation of the prompt, somewhat longer than the target"
    GREEDY_PARAPHRASES = "greedy continuation of its paraphrases"
    GREEDY_CHAT = "greedy answer to the prompt as a user's words in the model's chat template"
    GREEDY_PORTABILITY = "greedy answer to its portability questions"
    GREEDY_LOCALITY = "greedy continuation of its locality prompts, now and by the version that is compared with"
    TEXT = "sampled texts of 100 tokens from its generation prompts, or after the prompt"
    HELD_OUT = "log-likelihood of held-out text"


@dataclass(frozen=True)
class PromptReading:
    """One prompt: how probable the new target is after it, and the old one (a neighbor's own answer) where known."""

    prompt: str
    new: AnswerScore
    old: AnswerScore | None


@dataclass(frozen=True)
class Continuation:
    """What is said after a locality prompt: `now`, and `before`, by the version that is compared with."""

    now: str
    before: str


@dataclass(frozen=True)
class FactReading:
    """All that was read for the fact at `index` of the list that was given; what was not asked for is None or empty.

    `greedy_chat` has an answer for each of the model's chat forms that the prompt fits into. `neighbors_before` are the
    readings that `neighbors` are compared with.
    """

    index: int
    fact: Fact
    prompt: PromptReading | None = None
    paraphrases: tuple[PromptReading, ...] = ()
    neighbors: tuple[PromptReading, ...] = ()
    neighbors_before: tuple[PromptReading, ...] = ()
    portability: tuple[PromptReading, ...] = ()
    greedy: str | None = None
    greedy_paraphrases: tuple[str, ...] = ()
    greedy_chat: tuple[str, ...] = ()
    greedy_portability: tuple[str, ...] = ()
    locality: tuple[Continuation, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeldOutReading:
    """Log-likelihood in nats of each held-out text under one version, and how many tokens it was summed over."""

    log_likelihoods: tuple[float, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Observations:
    """The readings of one version. `held_out` are its own, `base_held_out` the base's, of the same texts."""

    facts: tuple[FactReading, ...]
    held_out: HeldOutReading | None = None
    base_held_out: HeldOutReading | None = None
