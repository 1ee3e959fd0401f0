"""What settings cost and give: scores against drift for methods and settings, each on several draws of facts.

    python -m benchmarks.tradeoff --facts counterfact.jsonl --text wikitext.txt --data DIR --output out.json \\
        --number 128 --seeds 1 2 3 --trial '{}' --trial '{"mu": 0}' --trial '{"algorithm": "memit"}'

A trial is a JSON object: settings of an edit, and `algorithm` where it is not emmet; `{}` is what a user gets by
default. `corpus` "text" makes its C0 from the text after what drift is measured on, not from what the model writes,
and `corpus_tokens` of so many tokens. Values are kept in --cache and finished rows in --output, so that an interrupted
run goes on where it was. With --bound, such as EM>=0.95, the means of trial `{}` over all draws are held to it;
NS_change is that of NS from the unedited model's in the same draw.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics as numbers
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.facts import read_facts
from benchmarks.results import environment, write_result
from benchmarks.trial import GA_OTHER_CHAT, SCORES, Trial, distinct_subjects, shared_subjects, text_rows
from editing.covariance.corpus import SelfSampled
from editing.covariance.statistics_store import StatisticSpec
from editing.covariance.text_corpora import TextFile
from editing.model.loading import LoadedModel, load_model
from editing.sources.default_model import DEFAULT_MODEL
from workers.statistics.layer_statistics import LayerStatistics

MEASURED = (*SCORES, GA_OTHER_CHAT, "NS_change", "drift", "mean_steps")
STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""t at 97.5% by the number of draws."""

Row = dict[str, Any]


def summary(rows: list[Row]) -> list[Row]:
    """For each trial the mean over draws and half of the 95% interval (Student's t over the draws' means)."""
    by_trial: dict[str, list[Row]] = {}
    unedited = {(row["number"], row["seed"]): row["NS"] for row in rows if row["trial"] is None}
    for row in rows:
        before = unedited.get((row["number"], row["seed"]))
        change = None if before is None or row["NS"] is None else row["NS"] - before
        key = json.dumps([row["number"], row["trial"]], sort_keys=True)
        by_trial.setdefault(key, []).append({**row, "NS_change": change})
    result = []
    for some in by_trial.values():
        about: Row = {"number": some[0]["number"], "trial": some[0]["trial"], "draws": len(some)}
        for name in MEASURED:
            figures = [row[name] for row in some if row.get(name) is not None]
            if figures:
                about[name] = {"mean": numbers.mean(figures), "half_interval": half_interval(figures)}
        result.append(about)
    return result


def half_interval(figures: list[float]) -> float | None:
    """Half of the 95% interval of a mean of two to five draws; None for one."""
    factor = STUDENT_T.get(len(figures))
    return factor * numbers.stdev(figures) / math.sqrt(len(figures)) if factor else None


@dataclass(frozen=True)
class Bound:
    """What the mean of `name` must be: at least (`>=`) or at most (`<=`) `value`."""

    name: str
    at_least: bool
    value: float

    @classmethod
    def parse(cls, text: str) -> Bound:
        name, operator, value = text.partition(">=") if ">=" in text else text.partition("<=")
        if name not in MEASURED or not operator:
            raise argparse.ArgumentTypeError(f"{text!r} is no bound; such as EM>=0.95, of {', '.join(MEASURED)}")
        return cls(name, operator == ">=", float(value))

    def check(self, default: Row) -> Row:
        found = default[self.name]["mean"]
        held = found >= self.value if self.at_least else found <= self.value
        return {"name": self.name, "mean": found, "at_least" if self.at_least else "at_most": self.value, "held": held}


def show(row: Row) -> None:
    scores = " ".join(
        f"{name} {row[name]:.3f}" for name in (*SCORES, GA_OTHER_CHAT, "drift") if row.get(name) is not None
    )
    rest = f"{row.get('repaired', '')} steps {row.get('mean_steps', 0):.1f} values {row.get('values_seconds', 0):.0f}s"
    print(f"{row['number']:4} seed {row['seed']} {json.dumps(row['trial']):60} {scores} {rest}", flush=True)


class Corpora:
    """Statistics of one model by the text that they are made from."""

    def __init__(self, model: LoadedModel, arguments: argparse.Namespace) -> None:
        self.model, self.data, self.tokens = model, arguments.data, arguments.tokens
        # Ten times as many characters as tokens: what drift is measured on is not what C0 was made from.
        rest = arguments.text.read_text()[arguments.text_tokens * 10 :]
        self.rest = arguments.data / f"{arguments.text.stem}-rest.txt"
        self.rest.parent.mkdir(parents=True, exist_ok=True)
        self.rest.write_text(rest)
        self._known: dict[tuple[str, int | None], LayerStatistics] = {}

    def get(self, corpus: str = "self", tokens: int | None = None) -> LayerStatistics:
        key = (corpus, tokens or self.tokens)
        if key not in self._known:
            text = TextFile(self.rest) if corpus == "text" else SelfSampled()
            self._known[key] = LayerStatistics(self.model, self.data, StatisticSpec(text, tokens=key[1]))
        return self._known[key]


def measure(arguments: argparse.Namespace, model: LoadedModel) -> bool:
    """Run what is not in the output yet; whether all bounds hold."""
    corpora = Corpora(model, arguments)
    rows: list[Row] = json.loads(arguments.output.read_text())["rows"] if arguments.output.exists() else []
    done = {json.dumps([row["number"], row["seed"], row["trial"]], sort_keys=True) for row in rows}
    facts, text = read_facts(arguments.facts), text_rows(model, arguments.text, arguments.text_tokens)
    about = {
        "environment": environment(),
        "model": model.name,
        "text_tokens": arguments.text_tokens,
        "shared_subjects": arguments.shared,
        "paraphrases_and_neighbors": arguments.asked,
        "corpus_tokens": arguments.tokens,
    }
    trials: list[Row | None] = [None, *map(json.loads, arguments.trial)]
    for seed in arguments.seeds:
        wanted = [trial for trial in trials if json.dumps([arguments.number, seed, trial], sort_keys=True) not in done]
        if not wanted:
            continue
        draw_of = shared_subjects if arguments.shared else distinct_subjects
        drawn = draw_of(model, facts, arguments.number, seed, arguments.asked)
        draw = Trial(model, corpora.get(), drawn, text, arguments.cache)
        for trial in wanted:
            settings = dict(trial or {})
            algorithm = settings.pop("algorithm", "emmet")
            statistics = corpora.get(settings.pop("corpus", "self"), settings.pop("corpus_tokens", None))
            found = draw.base() if trial is None else draw.run(algorithm, settings, statistics)
            rows.append({"number": arguments.number, "facts": len(drawn), "seed": seed, "trial": trial, **found})
            show(rows[-1])
            write_result(arguments.output, {**about, "rows": rows, "summary": summary(rows)})
    if not arguments.bound:
        return True
    (default,) = [one for one in summary(rows) if one["number"] == arguments.number and one["trial"] == {}]
    bounds = [bound.check(default) for bound in arguments.bound]
    write_result(arguments.output, {**about, "rows": rows, "summary": summary(rows), "bounds": bounds})
    for one in bounds:
        asked = f"at least {one['at_least']}" if "at_least" in one else f"at most {one['at_most']}"
        print(f"{one['name']:10} {one['mean']:.3f}, {asked}: {'held' if one['held'] else 'MISSED'}")
    return all(one["held"] for one in bounds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=Path, required=True, help="CounterFact records, or facts of any known shape")
    parser.add_argument("--text", type=Path, required=True, help="ordinary text for drift")
    parser.add_argument("--data", type=Path, required=True, help="folder for the model and its statistics")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--trial", action="append", default=[], metavar="JSON", help="settings; may be repeated")
    parser.add_argument("--number", type=int, default=128, help="subjects in a batch")
    parser.add_argument(
        "--shared", action="store_true", help="all facts of subjects that have several, instead of one of each"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="a draw of facts for each")
    parser.add_argument("--asked", type=int, help="paraphrases and neighbors of each fact that are asked; default all")
    parser.add_argument("--text-tokens", type=int, default=8192)
    parser.add_argument("--bound", action="append", default=[], type=Bound.parse, help="such as EM>=0.95, for trial {}")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; the model is in float32")
    parser.add_argument("--tokens", type=int, help="tokens of C0's text; by default 10 × d_in")
    parser.add_argument("--cache", type=Path, help="folder to keep optimised values in")
    arguments = parser.parse_args()
    model = load_model(arguments.model, cache=arguments.data, device=arguments.device, rounded_products=True)
    return 0 if measure(arguments, model) else 1


if __name__ == "__main__":
    sys.exit(main())
