"""The metrics, as rows of one table. A new metric is a new file here and a row below.

The front end reads the table too: nothing that it is made of imports PyTorch.
"""

from editing.metrics.drift import DRIFT
from editing.metrics.efficacy import EFFICACY
from editing.metrics.exact_match import EXACT_MATCH
from editing.metrics.generation_accuracy import GENERATION_ACCURACY
from editing.metrics.generation_entropy import GENERATION_ENTROPY
from editing.metrics.harmonic import HARMONIC
from editing.metrics.magnitudes.efficacy import EFFICACY_MAGNITUDE
from editing.metrics.magnitudes.neighborhood import NEIGHBORHOOD_MAGNITUDE
from editing.metrics.magnitudes.paraphrase import PARAPHRASE_MAGNITUDE
from editing.metrics.metric import Metric, Need
from editing.metrics.neighborhood import NEIGHBORHOOD
from editing.metrics.paraphrase import PARAPHRASE
from editing.metrics.said.chat import CHAT_ACCURACY
from editing.metrics.said.locality import LOCALITY
from editing.metrics.said.paraphrase import PARAPHRASE_ACCURACY
from editing.metrics.said.portability import PORTABILITY
from editing.metrics.said.portability_preference import PORTABILITY_PREFERENCE
from editing.metrics.zsre.efficacy import ZSRE_EFFICACY
from editing.metrics.zsre.neighborhood import ZSRE_NEIGHBORHOOD
from editing.metrics.zsre.paraphrase import ZSRE_PARAPHRASE
from editing.metrics.zsre.specificity import ZSRE_SPECIFICITY

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
        PARAPHRASE_ACCURACY,
        CHAT_ACCURACY,
        PORTABILITY,
        PORTABILITY_PREFERENCE,
        LOCALITY,
        EFFICACY_MAGNITUDE,
        PARAPHRASE_MAGNITUDE,
        NEIGHBORHOOD_MAGNITUDE,
        ZSRE_EFFICACY,
        ZSRE_PARAPHRASE,
        ZSRE_SPECIFICITY,
        ZSRE_NEIGHBORHOOD,
    )
}

__all__ = ["METRICS", "Metric", "Need"]
