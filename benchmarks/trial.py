"""One batch of facts on one model: scores and drift of an edit at any settings, with values optimised only once."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from api_schemas.facts import Fact, contradictions, subject_key
from api_schemas.settings import SettingsOverrides
from editing.covariance.method_metric import key_metrics
from editing.covariance.statistic import Statistic
from editing.errors import FactError
from editing.methods import ALGORITHMS, EditSettings, context_reserve, resolve_settings
from editing.metrics.evaluation import evaluate_versions
from editing.model.loading import LoadedModel
from editing.model.projection import Matrices
from editing.model.token_sequences import TokenSequences
from editing.readings.perplexity import perplexity
from editing.solve.batch import BatchEdit, Earlier, solve_batch
from editing.solve.layers import changed
from editing.subjects import ChatForm
from editing.values.chat_forms import chat_forms
from editing.values.contexts import Context, chat_contexts, sample_contexts
from editing.values.facts import SubjectGroup, group_by_subject, tokenize_facts
from editing.values.optimisation import optimise_values
from editing.values.value_set import Values
from workers.measuring import Measuring
from workers.statistics.layer_statistics import LayerStatistics

SCORES = ("ES", "PS", "NS", "S", "EM", "GA", "GA_paraphrase", "GA_chat")
OTHER_WORDINGS = ("Please finish this for me: ", "What comes next? ")
"""What a user may say before a prompt in conversation, beside what values are optimised and measured in."""
GA_OTHER_CHAT = "GA_chat_otherwise"
"""`GA_chat` in `OTHER_WORDINGS`: whether what was optimised in some wordings holds in others."""
ROW_TOKENS = 128
CONTEXT_RESERVE = 16
AFTER_VALUES = ("mu", "mu_relative", "strict", "repair_rounds", "repair_steps", "layers")
"""Settings that values do not depend on, but for the last of the layers."""


def distinct_subjects(
    model: LoadedModel, facts: Sequence[Fact], number: int, seed: int, asked: int | None = None
) -> list[Fact]:
    """`number` facts at random, no subject twice, that the model's tokenizer can take.

    With `asked`, only so many paraphrases and neighbors of each are kept.
    """
    order = list(facts)
    random.Random(seed).shuffle(order)
    chosen: dict[str, Fact] = {}
    for fact in order:
        if len(chosen) == number:
            break
        if subject_key(fact.subject) not in chosen and _fits(model, fact):
            chosen[subject_key(fact.subject)] = shortened(fact, asked)
    return list(chosen.values())


def shared_subjects(
    model: LoadedModel, facts: Sequence[Fact], number: int, seed: int, asked: int | None = None
) -> list[Fact]:
    """All facts of at most `number` subjects that occur more than once, but those that contradict an earlier one."""
    by_subject: dict[str, list[Fact]] = {}
    for fact in facts:
        by_subject.setdefault(subject_key(fact.subject), []).append(fact)
    several = [some for some in by_subject.values() if len(some) > 1]
    random.Random(seed).shuffle(several)
    chosen = []
    for some in several[:number]:
        later = {second for _, second in contradictions(some)}
        chosen += [
            shortened(fact, asked) for place, fact in enumerate(some) if place not in later and _fits(model, fact)
        ]
    return chosen


def shortened(fact: Fact, asked: int | None) -> Fact:
    """`fact` with the first `asked` of its paraphrases and neighbors."""
    return fact.model_copy(update={"paraphrases": fact.paraphrases[:asked], "neighbors": fact.neighbors[:asked]})


def text_rows(model: LoadedModel, path: Path, tokens: int) -> TokenSequences:
    """The first `tokens` tokens of a text file in rows of `ROW_TOKENS`."""
    ids = model.backend_tokenizer.encode(path.read_text()[: tokens * 8]).ids[:tokens]
    return TokenSequences.of([ids[start : start + ROW_TOKENS] for start in range(0, len(ids), ROW_TOKENS)])


def grouped(
    model: LoadedModel, facts: Sequence[Fact], settings: EditSettings, matrices: Matrices | None = None
) -> tuple[tuple[SubjectGroup, ...], tuple[Context, ...]]:
    """`facts` by subject, in the forms of `settings`, and a batch's contexts on `matrices`, by default the base."""
    decoder, tokenizer = model.decoder, model.backend_tokenizer
    texts = sample_contexts(
        decoder, matrices or {}, tokenizer, settings.context_texts, settings.context_tokens, settings.seed
    )
    forms = _forms(model, settings)
    return by_subject(model, facts, settings), (*texts, *chat_contexts(tokenizer, forms, settings.chat_weight))


def by_subject(model: LoadedModel, facts: Sequence[Fact], settings: EditSettings) -> tuple[SubjectGroup, ...]:
    """`facts` in tokens, in the forms of `settings`."""
    length, reserve = model.decoder.context_length, context_reserve(settings)
    return group_by_subject(tokenize_facts(model.backend_tokenizer, facts, length, reserve, _forms(model, settings)))


def _forms(model: LoadedModel, settings: EditSettings) -> tuple[ChatForm, ...]:
    return chat_forms(model.tokenizer) if "chat" in settings.forms else ()


def solved(
    measuring: Measuring,
    algorithm: str,
    statistics: Mapping[int, Statistic],
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    values: Values,
    settings: EditSettings,
    matrices: Matrices | None = None,
    past_keys: Mapping[int, torch.Tensor] | None = None,
    earlier: Sequence[SubjectGroup] = (),
) -> BatchEdit:
    """The edit of `groups` as one batch, repairs included, on `matrices` (the base by default) and beside the keys of
    earlier facts, by layer (d_in, n); of the groups `earlier`, edited before, what is lost is written again."""
    return solve_batch(
        measuring.model.decoder,
        matrices or {},
        key_metrics(ALGORITHMS[algorithm], statistics, settings, past_keys),
        groups,
        contexts,
        values,
        settings,
        lambda edited, listened: measuring.failing_groups(edited, listened, contexts),
        earlier=Earlier(earlier, lambda edited, listened: measuring.lost_groups(edited, listened, contexts)),
    )


class Trial:
    """`facts` as one batch on `model`; drift is perplexity on `text` over the base's.

    Values are kept in the folder `cache`, where one is given, so that an interrupted measurement goes on from there.
    """

    def __init__(
        self,
        model: LoadedModel,
        statistics: LayerStatistics,
        facts: list[Fact],
        text: TokenSequences,
        cache: Path | None = None,
    ) -> None:
        self.model, self.statistics, self.facts, self.text, self.cache = model, statistics, facts, text, cache
        self.measuring = Measuring(model, statistics)
        self._forms = chat_forms(model.tokenizer)
        self._base_perplexity: float | None = None
        self._values: dict[str, tuple[Values, float]] = {}

    def base(self) -> dict[str, Any]:
        """The unedited model's scores."""
        return self._scores({})

    def run(
        self, algorithm: str, overrides: dict[str, Any], statistics: LayerStatistics | None = None
    ) -> dict[str, Any]:
        """Scores, drift, steps and seconds of one edit with the method's settings and `overrides`.

        Solved with `statistics`, where some are given, instead of the trial's own.
        """
        settings = resolve_settings(
            ALGORITHMS[algorithm],
            self.model.shape,
            SettingsOverrides.model_validate(overrides),
            has_chat_template=bool(self._forms),
        )
        decoder = self.model.decoder
        groups, contexts = grouped(self.model, self.facts, settings)
        values, seconds = self._optimised(settings, groups, contexts)
        found = (statistics or self.statistics).get(settings.layers)
        started = time.monotonic()
        edit = solved(self.measuring, algorithm, found, groups, contexts, values, settings)
        deltas = {layer: one.delta() for layer, one in edit.layers.items()}
        solve_seconds = time.monotonic() - started
        matrices = {layer: changed(decoder.projections[layer], None, delta) for layer, delta in deltas.items()}
        weights = {layer: decoder.projections[layer].weight.double() for layer in deltas}
        return {
            "values_seconds": seconds,
            "solve_seconds": solve_seconds,
            "mean_steps": float(values.steps.float().mean()),
            "mean_delta_norm": float(values.deltas.norm(dim=1).mean()),
            "repaired": list(edit.repaired),
            "mu_used": edit.layers[max(edit.layers)].solutions[-1].mu_used,
            "relative_norm": max(float(deltas[layer].norm() / weights[layer].norm()) for layer in deltas),
            **self._scores(matrices),
        }

    def _optimised(
        self, settings: EditSettings, groups: Sequence[SubjectGroup], contexts: Sequence[Context]
    ) -> tuple[Values, float]:
        wanted = [self.model.name, max(settings.layers), settings.model_dump(mode="json", exclude=set(AFTER_VALUES))]
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode())
        for fact in self.facts:
            digest.update(fact.model_dump_json(include={"prompt", "subject", "target_new"}).encode())
        key = digest.hexdigest()[:24]
        if key not in self._values:
            kept = self.cache / f"{key}.safetensors" if self.cache else None
            if kept is not None and kept.exists():
                self._values[key] = read_values(kept)
            else:
                started = time.monotonic()
                values = optimise_values(self.model.decoder, {}, groups, contexts, settings)
                self._values[key] = values, time.monotonic() - started
                if kept is not None:
                    keep_values(kept, *self._values[key])
        return self._values[key]

    def _scores(self, matrices: dict[int, torch.Tensor]) -> dict[str, Any]:
        metrics = self.measuring.measure(matrices, self.facts, SCORES)
        scores: dict[str, Any] = {name: metrics[name].value for name in SCORES}
        (otherwise,) = evaluate_versions(
            self.model.decoder,
            self.model.backend_tokenizer,
            [matrices],
            self.facts,
            ["GA_chat"],
            chat_forms=chat_forms(self.model.tokenizer, OTHER_WORDINGS),
            whole_texts=False,
        )
        scores[GA_OTHER_CHAT] = otherwise.metrics["GA_chat"].value
        if self._base_perplexity is None:
            self._base_perplexity = perplexity(self.model.decoder, {}, self.text)
        drift = perplexity(self.model.decoder, matrices, self.text) / self._base_perplexity if matrices else 1.0
        return {**scores, "drift": drift}


def keep_values(path: Path, values: Values, seconds: float) -> None:
    tensors = {
        field.name: getattr(values, field.name).contiguous() for field in fields(Values) if field.name != "layer"
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"layer": str(values.layer), "seconds": str(seconds)})


def read_values(path: Path) -> tuple[Values, float]:
    """What `keep_values` wrote."""
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    return Values(layer=int(about["layer"]), **tensors), float(about["seconds"])


def _fits(model: LoadedModel, fact: Fact) -> bool:
    try:
        tokenize_facts(model.backend_tokenizer, [fact], model.decoder.context_length, CONTEXT_RESERVE)
    except FactError:
        return False
    return True
