"""GE: has the model begun to repeat itself?

Fluency as ROME measures it (arXiv 2202.05262, section 3.4): entropy of the n-gram frequencies of generated text. ROME
and MEMIT write texts from CounterFact's generation prompts and take the entropy of the whole; a continuation of the
edit prompt gives other numbers, so a measurement names its protocol.
"""

import math
import re
from collections import Counter
from typing import Final

from api_schemas.metrics import Measurement
from editing.metrics.metric import Metric, mean_or_none, mean_over_facts
from editing.readings.observations import FactReading, Observations, Reading

GENERATION_PROMPTS: Final = (
    "generation_prompts: 100 tokens each, prompt included, top-5 sampling, entropy of the whole text"
)
CONTINUATION: Final = "continuation of the prompt: 100 tokens, top-5 sampling, entropy of the continuation"

_WORD = re.compile(r"\w+|[^\w\s]")
_WEIGHTS = {2: 2 / 3, 3: 4 / 3}


def n_gram_entropy(text: str) -> float:
    """The mean of 2/3·H₂ and 4/3·H₃, H the entropy in bits of the frequencies of `text`'s word n-grams, times 100."""
    words = _WORD.findall(text)
    weighted = [weight * _entropy(words, n) for n, weight in _WEIGHTS.items()]
    return 100 * sum(weighted) / len(weighted)


def _entropy(words: list[str], n: int) -> float:
    counts = Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))
    total = counts.total()
    return -math.fsum(count / total * math.log2(count / total) for count in counts.values())


def of_fact(fact: FactReading) -> float | None:
    """The mean over this fact's texts."""
    return mean_or_none([n_gram_entropy(text) for text in fact.texts])


def overall(observed: Observations) -> Measurement:
    """The mean over the facts with texts; all were written by one protocol (`editing.readings.reader.Reader.texts`)."""
    measured = mean_over_facts(of_fact)(observed)
    if measured.n == 0:
        return measured
    prompted = any(fact.fact.generation_prompts for fact in observed.facts)
    return measured.model_copy(update={"protocol": protocol(prompted)})


def protocol(prompted: bool) -> str:
    """How texts are written of facts of which one has generation prompts, if they are `prompted`."""
    return GENERATION_PROMPTS if prompted else CONTINUATION


GENERATION_ENTROPY = Metric(
    name="GE",
    title="Generation entropy",
    summary=(
        "Entropy of the word bigrams and trigrams of texts of 100 tokens (top-5 sampling), ×100: whole texts from "
        "generation_prompts where facts have them, else what follows the prompt."
    ),
    better="near base",
    reads=frozenset({Reading.TEXT}),
    overall=overall,
    of_fact=of_fact,
    protocol=protocol,
)
