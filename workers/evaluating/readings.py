"""What clients see of a fact of an evaluation: what was read of it, under one version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from editing.readings.observations import FactReading, PromptReading


def shown_reading(fact: FactReading, values: Mapping[str, float | None], wanted: Iterable[str]) -> dict[str, Any]:
    """The fact's own value of each `wanted` metric, and what they were made of: log-probabilities, and texts.

    `said` are greedy answers, in the order of the fact's prompts (`chat`: of the wordings); `texts` are those of GE.
    """
    return {
        "metrics": {name: values[name] for name in wanted if name in values},
        "prompt": None if fact.prompt is None else _prompt(fact.prompt),
        "paraphrases": [_prompt(reading) for reading in fact.paraphrases],
        "neighbors": [_prompt(reading) for reading in fact.neighbors],
        "portability": [_prompt(reading) for reading in fact.portability],
        "greedy": fact.greedy,
        "said": {
            "paraphrases": list(fact.greedy_paraphrases),
            "chat": list(fact.greedy_chat),
            "portability": list(fact.greedy_portability),
            "locality": [{"now": one.now, "before": one.before} for one in fact.locality],
        },
        "texts": list(fact.texts),
    }


def _prompt(reading: PromptReading) -> dict[str, Any]:
    """`new`, `old`: mean log-probability of a target's tokens, in nats; `said`: the new one is what would be said."""
    return {
        "prompt": reading.prompt,
        "new": reading.new.log_probability,
        "old": None if reading.old is None else reading.old.log_probability,
        "said": reading.new.said,
    }
