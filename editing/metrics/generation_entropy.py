"""GE: has the model begun to repeat itself?

Fluency as ROME measures it (arXiv 2202.05262, section 3.4): entropy of the n-gram frequencies of generated text.
"""

import math
import re
from collections import Counter

from editing.metrics.metric import Metric, mean_over_facts
from editing.readings.observations import FactReading, Reading

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
    return None if fact.text is None else n_gram_entropy(fact.text)


GENERATION_ENTROPY = Metric(
    name="GE",
    title="Generation entropy",
    summary="Entropy of the word bigrams and trigrams of 100 tokens sampled after the prompt (top 5), ×100.",
    better="near base",
    reads=frozenset({Reading.TEXT}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
)
