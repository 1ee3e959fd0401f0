"""Store of C0 on disk: built once for exact weights, a layer, a corpus and a token count, which are its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from editing.atomic_files import exclusive, whole_file
from editing.covariance.accumulation import key_moments
from editing.covariance.corpus import Corpus, corpus_sequences
from editing.covariance.partial_sums import SavedSums
from editing.covariance.published_moments import PublishedMoments, check_against_model
from editing.covariance.statistic import Statistic, make_statistic
from editing.errors import StatisticError
from editing.model.loading import LoadedModel
from editing.progress import ProgressCallback, ShouldStop, never, silent

TOKENS_PER_INPUT = 10
"""Default number of tokens as a multiple of d_in."""

_FORMAT = "emmetd-statistic-1"


@dataclass(frozen=True)
class StatisticSpec:
    """What a statistic is made from, apart from the model.

    `tokens` None is 10 × d_in, `shrinkage` None is as much as is needed; `skip_first` as in `key_moments`.
    """

    corpus: Corpus
    tokens: int | None = None
    shrinkage: float | None = None
    skip_first: int = 0


def prepare_statistics(
    model: LoadedModel,
    layers: Sequence[int],
    spec: StatisticSpec,
    folder: Path,
    *,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> dict[int, Statistic]:
    """The statistics of `layers`, built in one pass where `folder` does not hold them yet.

    Interrupted by `should_stop` or a kill, a long build goes on from its last save when any of its layers that are
    still missing are asked for again. Raises EditInterrupted, CorpusError or StatisticError.
    """
    unknown = [layer for layer in layers if not 0 <= layer < model.shape.n_layers]
    if unknown:
        raise StatisticError(f"layers {unknown} do not exist; the model has layers 0 to {model.shape.n_layers - 1}")
    statistics = {layer: load_statistic(model, layer, spec, folder) for layer in layers}
    missing = sorted(layer for layer, statistic in statistics.items() if statistic is None)
    sums = SavedSums(folder, _key(model, [], spec))
    if missing:
        with exclusive(sums.lock):  # a second process waits here and then finds what the first has built
            statistics |= {layer: load_statistic(model, layer, spec, folder) for layer in missing}
            missing = [layer for layer in missing if statistics[layer] is None]
            if missing:
                statistics |= _build(model, missing, spec, folder, sums, on_progress, should_stop)
    sums.forget(lambda layer: has_statistic(model, layer, spec, folder))
    return {layer: statistic for layer, statistic in statistics.items() if statistic is not None}


def load_statistic(model: LoadedModel, layer: int, spec: StatisticSpec, folder: Path) -> Statistic | None:
    """The statistic of `layer` if `folder` holds it.

    Raises StatisticError or FingerprintMismatchError where its file is broken or belongs to other weights.
    """
    file = _file(model, layer, spec, folder)
    if not file.is_file():
        return None
    statistic = read_statistic(file, model.decoder.device)
    statistic.require(model.fingerprint, layer)
    return statistic


def has_statistic(model: LoadedModel, layer: int, spec: StatisticSpec, folder: Path) -> bool:
    """Whether `folder` holds the statistic of `layer`."""
    return _file(model, layer, spec, folder).is_file()


def keep_statistic(model: LoadedModel, layer: int, spec: StatisticSpec, folder: Path, made: Statistic) -> None:
    """Write what was made elsewhere where `load_statistic` finds it."""
    write_statistic(made, _file(model, layer, spec, folder))


def statistic_key(model: LoadedModel, layer: int, spec: StatisticSpec) -> str:
    """What tells this statistic from all others: weights, tokenizer, layer, text, number of tokens, shrinkage."""
    return _key(model, [layer], spec)


def read_statistic(file: Path, device: torch.device | str = "cpu") -> Statistic:
    """Read one statistic file. Raises StatisticError naming the file where it is not one."""
    try:
        with safe_open(str(file), framework="pt", device=str(device)) as stored:
            metadata = json.loads((stored.metadata() or {}).get("statistic", "{}"))
            if metadata.pop("format", None) != _FORMAT:
                raise StatisticError(f"{file} is no statistic of this version of emmetd; remove it to build it again")
            return Statistic(C=stored.get_tensor("C"), factor=stored.get_tensor("factor"), **metadata)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise StatisticError(f"{file} cannot be read ({error}); remove it to build it again") from error


def write_statistic(statistic: Statistic, file: Path) -> None:
    """Write `file` whole: C and its factor in float64, the rest as JSON metadata."""
    metadata: dict[str, Any] = {
        "format": _FORMAT,
        "layer": statistic.layer,
        "tokens": statistic.tokens,
        "corpus": statistic.corpus,
        "fingerprint": statistic.fingerprint,
        "shrinkage": statistic.shrinkage,
        "condition": statistic.condition,
    }
    arrays = {"C": statistic.C.cpu().contiguous(), "factor": statistic.factor.cpu().contiguous()}
    with whole_file(file) as part:
        save_file(arrays, part, metadata={"statistic": json.dumps(metadata)})


def _build(
    model: LoadedModel,
    layers: list[int],
    spec: StatisticSpec,
    folder: Path,
    saved: SavedSums,
    on_progress: ProgressCallback,
    should_stop: ShouldStop,
) -> dict[int, Statistic]:
    if isinstance(spec.corpus, PublishedMoments):
        return _published(model, layers, spec, spec.corpus, folder, on_progress, should_stop)
    tokens = _tokens(model, spec)
    sequences = corpus_sequences(spec.corpus, model, tokens, folder, on_progress=on_progress, should_stop=should_stop)
    sums = key_moments(
        model.decoder,
        layers,
        sequences,
        skip_first=spec.skip_first,
        resume=saved.read(layers, model.decoder.device),
        save=saved.write,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    built = {}
    for done, layer in enumerate(layers):
        on_progress("factor", done, len(layers))
        built[layer] = make_statistic(
            sums.moment(layer),
            layer=layer,
            tokens=sums.tokens,
            corpus=_text_of(spec),
            fingerprint=model.fingerprint,
            shrinkage=spec.shrinkage,
        )
        write_statistic(built[layer], _file(model, layer, spec, folder))
    on_progress("factor", len(layers), len(layers))
    return built


def _published(
    model: LoadedModel,
    layers: list[int],
    spec: StatisticSpec,
    corpus: PublishedMoments,
    folder: Path,
    on_progress: ProgressCallback,
    should_stop: ShouldStop,
) -> dict[int, Statistic]:
    """From files, a layer at a time: each is (d_in, d_in), float64, twice."""
    built = {}
    for done, layer in enumerate(layers):
        on_progress("factor", done, len(layers))
        moment, count = corpus.moment(model, layer)
        check_against_model(model, {layer: moment}, folder, should_stop)
        built[layer] = make_statistic(
            moment,
            layer=layer,
            tokens=count,
            corpus=_text_of(spec),
            fingerprint=model.fingerprint,
            shrinkage=spec.shrinkage,
        )
        write_statistic(built[layer], _file(model, layer, spec, folder))
    on_progress("factor", len(layers), len(layers))
    return built


def _tokens(model: LoadedModel, spec: StatisticSpec) -> int:
    return spec.tokens if spec.tokens is not None else TOKENS_PER_INPUT * model.shape.d_in


def _text_of(spec: StatisticSpec) -> str:
    skipped = f", without each row's first {spec.skip_first} tokens" if spec.skip_first else ""
    return spec.corpus.name + skipped


def _file(model: LoadedModel, layer: int, spec: StatisticSpec, folder: Path) -> Path:
    return folder / f"layer-{layer}-{_key(model, [layer], spec)}.safetensors"


def _key(model: LoadedModel, layers: Sequence[int], spec: StatisticSpec) -> str:
    parts = [model.fingerprint, model.tokenizer_fingerprint, list(layers), _text_of(spec), _tokens(model, spec)]
    identity = json.dumps([*parts, spec.shrinkage])
    return hashlib.sha256(identity.encode()).hexdigest()[:24]
