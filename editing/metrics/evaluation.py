"""Measure a version on facts: make the readings that the wanted metrics need, then compute the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tokenizers import Tokenizer

from api_schemas.facts import Fact
from api_schemas.metrics import DEFAULT_METRICS, Measurement
from editing.metrics import METRICS
from editing.metrics.metric import Values
from editing.metrics.said.certainty import is_certain
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.model.token_sequences import TokenSequences
from editing.progress import ProgressCallback, ShouldStop, never, silent
from editing.readings.observations import FactReading, HeldOutReading, Observations, Reading
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
    prompted: bool | None = None,
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
        prompted=prompted,
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
    prompted: bool | None = None,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> list[Evaluation]:
    """Measure each of `versions` on `facts` by `metrics`, names of `METRICS`; all are read side by side.

    Drift needs `held_out`; with `base_held_out` (the base's reading of the same text) the base is not run again. What
    compares with another version's answers compares with `reference`, by default the base. `chat_forms` are the model's
    (`editing.values.chat_forms`): without any, nothing is asked in conversation. Without `whole_texts` a greedy answer
    is written only until its metric is certain. `seed` is that of GE's texts, and `prompted` says whether they begin
    with generation prompts, where other facts than these decide it. Raises
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
    observed = [Observations(tuple(readings)) for readings in reader.readings(facts, reads, seed, prompted)]
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
        of_facts=tuple(values_of(fact, wanted) for fact in observed.facts),
    )


def values_of(fact: FactReading, metrics: Iterable[str]) -> dict[str, float | None]:
    """The fact's own value of each of `metrics` that has one."""
    return {name: of_fact(fact) for name in metrics if (of_fact := METRICS[name].of_fact) is not None}


def with_parts(metrics: Iterable[str]) -> list[str]:
    """`metrics` and those that they are made of: their values of each fact are enough to measure them all."""
    return list(dict.fromkeys(part for name in metrics for part in (*METRICS[name].parts, name)))


def measurements(metrics: Iterable[str], values: Sequence[Values], *, prompted: bool) -> dict[str, Measurement]:
    """Of `metrics` that are made of facts: what `evaluate` measures, of `values_of` each fact.

    `prompted` says whether one of the facts has generation prompts, where that is asked for.
    """
    measured = {}
    for name in metrics:
        metric = METRICS[name]
        if metric.of_fact is None and metric.of_values is None:
            continue
        found = metric.over(values)
        if metric.protocol is not None and found.n > 0:
            found = found.model_copy(update={"protocol": metric.protocol(prompted)})
        measured[name] = found
    return measured
