"""Measure a version on facts: make the readings that the wanted metrics need, then compute the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tokenizers import Tokenizer

from api_schemas.facts import Fact
from api_schemas.metrics import DEFAULT_METRICS, Measurement
from editing.metrics import METRICS
from editing.metrics.said.certainty import is_certain
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.model.token_sequences import TokenSequences
from editing.progress import ProgressCallback, ShouldStop, never, silent
from editing.readings.observations import HeldOutReading, Observations, Reading
from editing.readings.perplexity import held_out_reading
from editing.readings.reader import Reader
from editing.subjects import ChatForm


@dataclass(frozen=True)
class Evaluation:
    """The measurements by metric name, the readings they were made of, and each fact's own values."""

    metrics: dict[str, Measurement]
    observations: Observations
    of_facts: tuple[dict[str, float | None], ...]


def evaluate(
    decoder: Decoder,
    tokenizer: Tokenizer,
    matrices: Matrices,
    facts: Sequence[Fact],
    metrics: Iterable[str] = DEFAULT_METRICS,
    *,
    held_out: TokenSequences | None = None,
    base_held_out: HeldOutReading | None = None,
    reference: Matrices | None = None,
    chat_forms: Sequence[ChatForm] = (),
    seed: int = 0,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> Evaluation:
    """`evaluate_versions` of the one version `matrices` ({} is the base)."""
    (evaluation,) = evaluate_versions(
        decoder,
        tokenizer,
        [matrices],
        facts,
        metrics,
        held_out=held_out,
        base_held_out=base_held_out,
        reference=reference,
        chat_forms=chat_forms,
        seed=seed,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    return evaluation


def evaluate_versions(
    decoder: Decoder,
    tokenizer: Tokenizer,
    versions: Sequence[Matrices],
    facts: Sequence[Fact],
    metrics: Iterable[str] = DEFAULT_METRICS,
    *,
    held_out: TokenSequences | None = None,
    base_held_out: HeldOutReading | None = None,
    reference: Matrices | None = None,
    chat_forms: Sequence[ChatForm] = (),
    whole_texts: bool = True,
    seed: int = 0,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> list[Evaluation]:
    """Measure each of `versions` on `facts` by `metrics`, names of `METRICS`; all are read side by side.

    Drift needs `held_out`; with `base_held_out` (the base's reading of the same text) the base is not run again. What
    compares with another version's answers compares with `reference`, by default the base. `chat_forms` are the model's
    (`editing.values.chat_forms`): without any, nothing is asked in conversation. Without `whole_texts` a greedy answer
    is written only until its metric is certain. `seed` is that of GE's texts. Raises
    FactLengthError or FactError naming a fact that cannot be read, EditInterrupted, and ValueError for an unknown
    metric or drift without text.
    """
    wanted = list(dict.fromkeys(metrics))
    unknown = [name for name in wanted if name not in METRICS]
    if unknown:
        raise ValueError(f"unknown metrics {unknown}; known: {', '.join(METRICS)}")
    reads = frozenset[Reading]().union(*(METRICS[name].reads for name in wanted))
    reader = Reader(
        decoder,
        tokenizer,
        versions,
        on_progress,
        should_stop,
        reference=reference,
        chat_forms=chat_forms,
        certain=None if whole_texts else is_certain,
    )
    observed = [Observations(tuple(readings)) for readings in reader.readings(facts, reads, seed)]
    if Reading.HELD_OUT in reads:
        if held_out is None:
            raise ValueError("drift needs held-out text to be measured on")

        def read(version: Matrices) -> HeldOutReading:
            return held_out_reading(decoder, version, held_out, on_progress=on_progress, should_stop=should_stop)

        if base_held_out is None or not all(versions):
            base_held_out = read({})
        observed = [
            replace(one, held_out=read(matrices) if matrices else base_held_out, base_held_out=base_held_out)
            for one, matrices in zip(observed, versions, strict=True)
        ]
    return [_evaluation(wanted, one) for one in observed]


def _evaluation(wanted: Sequence[str], observed: Observations) -> Evaluation:
    return Evaluation(
        metrics={name: METRICS[name].overall(observed) for name in wanted},
        observations=observed,
        of_facts=tuple(
            {name: of_fact(fact) for name in wanted if (of_fact := METRICS[name].of_fact) is not None}
            for fact in observed.facts
        ),
    )
