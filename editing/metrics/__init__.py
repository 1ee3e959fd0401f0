"""The metrics, as rows of one table. A new metric is a new file here and a row below.

The front end reads the table too: nothing that it is made of imports PyTorch.
"""

from editing.metrics.drift import DRIFT
from editing.metrics.efficacy import EFFICACY
from editing.metrics.exact_match import EXACT_MATCH
from editing.metrics.generation_accuracy import GENERATION_ACCURACY
from editing.metrics.generation_entropy import GENERATION_ENTROPY
from editing.metrics.harmonic import HARMONIC
from editing.metrics.metric import Metric, Need
from editing.metrics.neighborhood import NEIGHBORHOOD
from editing.metrics.paraphrase import PARAPHRASE

METRICS: dict[str, Metric] = {
    row.name: row
    for row in (
        EFFICACY,
        PARAPHRASE,
        NEIGHBORHOOD,
        HARMONIC,
        EXACT_MATCH,
        GENERATION_ACCURACY,
        GENERATION_ENTROPY,
        DRIFT,
    )
}

__all__ = ["METRICS", "Metric", "Need"]
