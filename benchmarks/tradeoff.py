"""What defaults cost and give: scores against drift over layer, μ, early stopping and repair, in one batch.

    python -m benchmarks.tradeoff --facts counterfact.jsonl --text wikitext.txt --model DIR --output out.json

Values are optimised once for each layer and way of stopping and solved again for each μ and number of repair rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from pathlib import Path
from typing import Any

import torch

from api_schemas.algorithms import ALGORITHMS, EditSettings, SettingsOverrides, resolve_settings
from api_schemas.facts import Fact
from benchmarks.results import environment, write_result
from editing.batch import solve_batch
from editing.contexts import sample_contexts
from editing.facts import group_by_subject, tokenize_facts
from editing.layers import changed
from editing.loading import LoadedModel, load_model
from editing.perplexity import perplexity
from editing.token_rows import TokenRows
from editing.values import optimise_values
from workers.measuring import Measuring
from workers.statistics import Statistics

SCORES = ("ES", "PS", "NS", "S", "EM")
ROW_TOKENS = 128


def draw(path: Path, number: int, seed: int, *, first: bool = False) -> list[Fact]:
    """`number` records with distinct subjects; with `first`, one paraphrase and one neighbor of each."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    random.Random(seed).shuffle(records)
    chosen: dict[str, Fact] = {}
    for record in records:
        if first:
            record["paraphrase_prompts"] = record["paraphrase_prompts"][:1]
            record["neighborhood_prompts"] = record["neighborhood_prompts"][:1]
        fact = Fact.model_validate(record)
        chosen.setdefault(fact.subject.strip(), fact)
        if len(chosen) == number:
            break
    return list(chosen.values())


def text_rows(model: LoadedModel, path: Path, tokens: int) -> TokenRows:
    """The first `tokens` tokens of a text file in rows of `ROW_TOKENS`."""
    ids = model.backend_tokenizer.encode(path.read_text()[: tokens * 8]).ids[:tokens]
    return TokenRows.of([ids[start : start + ROW_TOKENS] for start in range(0, len(ids), ROW_TOKENS)])


class Trial:
    """One draw of facts on one model."""

    def __init__(self, model: LoadedModel, statistics: Statistics, facts: list[Fact], text: TokenRows) -> None:
        self.model, self.statistics, self.facts, self.text = model, statistics, facts, text
        self.measuring = Measuring(model, statistics)
        self.groups = group_by_subject(tokenize_facts(model.backend_tokenizer, facts, model.decoder.context_length, 16))
        self.base_perplexity = perplexity(model.decoder, {}, text)
        self._values: dict[str, Any] = {}

    def base(self) -> dict[str, Any]:
        return self._scores({})

    def run(self, algorithm: str, **overrides: Any) -> dict[str, Any]:
        settings = resolve_settings(
            ALGORITHMS[algorithm], self.model.shape, SettingsOverrides.model_validate(overrides)
        )
        decoder = self.model.decoder
        contexts = sample_contexts(
            decoder, {}, self.model.backend_tokenizer, settings.contexts, settings.context_tokens, settings.seed
        )
        values, seconds = self._optimised(settings, contexts)
        started = time.monotonic()
        edit = solve_batch(
            decoder,
            {},
            self.statistics.get(settings.layers),
            self.groups,
            contexts,
            values,
            settings,
            lambda matrices: self.measuring.unsaid_groups(matrices, self.groups),
        )
        matrices = {layer: changed(decoder.projections[layer], None, one.delta()) for layer, one in edit.layers.items()}
        solve_seconds = time.monotonic() - started
        return {
            "algorithm": algorithm,
            "settings": overrides,
            "values_seconds": seconds,
            "solve_seconds": solve_seconds,
            "mean_steps": float(values.steps.float().mean()),
            "repaired": list(edit.repaired),
            "mu_used": edit.layers[max(edit.layers)].solutions[-1].mu_used,
            **self._scores(matrices),
        }

    def _optimised(self, settings: EditSettings, contexts: Any) -> tuple[Any, float]:
        free = {"mu", "mu_relative", "repair_rounds", "repair_steps", "strict", "layers"}
        key = json.dumps([max(settings.layers), settings.model_dump(exclude=free)], sort_keys=True)
        if key not in self._values:
            started = time.monotonic()
            found = optimise_values(self.model.decoder, {}, self.groups, contexts, settings)
            self._values[key] = (found, time.monotonic() - started)
        return self._values[key]  # type: ignore[no-any-return]

    def _scores(self, matrices: dict[int, torch.Tensor]) -> dict[str, Any]:
        metrics = self.measuring.measure(matrices, self.facts, SCORES)
        scores: dict[str, Any] = {name: metrics[name].value for name in SCORES}
        scores["drift"] = perplexity(self.model.decoder, matrices, self.text) / self.base_perplexity
        return scores


def show(row: dict[str, Any]) -> None:
    scores = " ".join(f"{name} {row[name]:.3f}" for name in (*SCORES, "drift") if row.get(name) is not None)
    about = f"{row.get('algorithm', 'base')} {json.dumps(row.get('settings', {}))}"
    print(f"{about:70} {scores} {json.dumps(row.get('repaired', []))} {row.get('values_seconds', 0):.0f}s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True, help="ordinary text for drift")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--data", type=Path, required=True, help="folder for the model and its statistics")
    parser.add_argument("--number", type=int, default=128)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--layers", type=int, nargs="+", default=[8])
    parser.add_argument("--mu", type=float, nargs="+", default=[0.0, 100.0])
    parser.add_argument("--repair", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--stop", type=int, nargs="+", default=[1], help="stop_after_argmax")
    parser.add_argument("--text-tokens", type=int, default=8192)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    model = load_model(arguments.model, cache=arguments.data)
    statistics = Statistics(model, arguments.data)
    rows: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        facts = draw(arguments.facts, arguments.number, seed, first=True)
        trial = Trial(model, statistics, facts, text_rows(model, arguments.text, arguments.text_tokens))
        rows.append({"seed": seed, **trial.base()})
        show(rows[-1])
        for layer, stop, mu, repair in itertools.product(
            arguments.layers, arguments.stop, arguments.mu, arguments.repair
        ):
            row = trial.run("emmet", layers=[layer], mu=mu, repair_rounds=repair, stop_after_argmax=stop)
            rows.append({"seed": seed, **row})
            show(row)
            write_result(arguments.output, {"environment": environment(), "number": arguments.number, "rows": rows})


if __name__ == "__main__":
    main()
