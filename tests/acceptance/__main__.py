"""The promises that take real models and minutes to check, all or by name; each leaves its JSON.

    python -m tests.acceptance --facts counterfact.jsonl --text wikitext.txt
    python -m tests.acceptance main_job reverts --facts counterfact.jsonl --results /tmp/results

Each is a program of its own with more options: python -m tests.acceptance.main_job --help.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configuration.settings import load_settings

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
DEFAULTS_AND_OTHERS = (
    "{}",
    '{"mu": 0, "repair_rounds": 0}',
    '{"algorithm": "memit"}',
    '{"preset": "authors-llama-2-7b", "layers": [8]}',
)
"""Trials of `benchmarks.tradeoff`: the default, equality alone, least squares, and the authors' EMMET."""
SAID = (
    "GA>=0.97",
    "GA_chat>=0.95",
    "GA_chat_otherwise>=0.90",
    "GA_paraphrase>=0.75",
    "ES>=0.98",
    "PS>=0.95",
    "NS_change>=-0.04",
)


@dataclass(frozen=True)
class Promise:
    """`module` with its own options checks it and writes `--output`."""

    summary: str
    module: str
    options: tuple[str, ...] = ()
    needs_facts: bool = True
    needs_text: bool = False


def _tradeoff(
    summary: str, number: int, *options: str, trials: Sequence[str] = ("{}",), bounds: Sequence[str] = ()
) -> Promise:
    chosen = ["--number", str(number), *options]
    for trial in trials:
        chosen += ["--trial", trial]
    for bound in bounds:
        chosen += ["--bound", bound]
    return Promise(summary, "benchmarks.tradeoff", tuple(chosen), needs_text=True)


PROMISES = {
    "main_job": Promise("edits, rollback, stop and start, and a killed worker", "tests.acceptance.main_job"),
    "reverts": Promise("4 of 32 facts taken out again", "tests.acceptance.reverts"),
    "corrections": Promise("seconds from POST to published, of one fact, 16 and 128", "tests.acceptance.corrections"),
    "consolidation": Promise(
        "a line of 512 facts consolidated, beside one batch of them", "tests.acceptance.consolidation"
    ),
    "worn_line": Promise("a line driven into collapse is told of in time", "tests.acceptance.worn_line"),
    "engines": Promise(
        "a version in vLLM as adapter and checkpoint, followed and rolled back there, and in llama.cpp",
        "tests.acceptance.engines",
    ),
    "load": Promise("32 clients while a batch runs and is published", "tests.acceptance.load"),
    "version_walks": Promise(
        "weights of versions after random walks, on two workers", "tests.acceptance.version_walks", (), False
    ),
    "schemathesis": Promise(
        "every operation against the OpenAPI document", "tests.acceptance.openapi_document", (), False
    ),
    "five_minutes": Promise(
        "the page for newcomers, word by word against a fresh `make run`", "tests.acceptance.five_minutes", (), False
    ),
    "refusals": Promise("how fast bad requests are refused", "tests.acceptance.refusals", (), False),
    "overhead": Promise(
        "from POST to a batch's beginning, and a POST against a bare handler", "tests.acceptance.overhead", (), False
    ),
    "stalls": Promise(
        "completions and edits of one key beside diffs, event streams and an evaluation of another",
        "tests.acceptance.stalls",
        (),
        False,
    ),
    "beside_evaluations": Promise(
        "when batches begin beside three evaluations, and what a page of 10,000 facts costs",
        "tests.acceptance.beside_evaluations",
    ),
    "odd_facts": Promise("facts that no one means, by the thousand", "tests.acceptance.odd_facts", (), False),
    "said_32": _tradeoff(
        "32 facts as people read them: said bare, in conversation and in other wordings",
        32,
        bounds=(*SAID, "drift<=1.05"),
    ),
    "said_128": _tradeoff("the same of 128 facts", 128, bounds=(*SAID, "drift<=1.10")),
    "methods_128": _tradeoff(
        "EMMET, MEMIT and the authors' settings on three draws of 128 facts",
        128,
        trials=DEFAULTS_AND_OTHERS,
        bounds=("EM>=0.95", "ES>=0.98", "PS>=0.82", "NS_change>=-0.06", "drift<=1.12"),
    ),
    "methods_256": _tradeoff(
        "the same on three draws of 256 facts", 256, trials=DEFAULTS_AND_OTHERS, bounds=("EM>=0.90",)
    ),
    "shared_subjects": _tradeoff(
        "all facts of 285 subjects that have several, in one batch",
        285,
        *("--shared", "--seeds", "1"),
        bounds=("ES>=0.95",),
    ),
    "statistics_compared": _tradeoff(
        "C0 of text that the model wrote, and of ordinary text, 10 and 40 tokens for each input",
        64,
        trials=("{}", '{"corpus": "text"}', '{"corpus": "text", "corpus_tokens": 61440}'),
    ),
}


def command(name: str, given: argparse.Namespace, data: Path) -> list[str] | None:
    """How `name` is run, or None where it needs what was not given."""
    promise = PROMISES[name]
    if (promise.needs_facts and given.facts is None) or (promise.needs_text and given.text is None):
        return None
    result = [sys.executable, "-m", promise.module, *promise.options, "--output", str(given.results / f"{name}.json")]
    if promise.needs_facts:
        result += ["--facts", str(given.facts)]
    if promise.needs_text:
        result += ["--text", str(given.text), "--data", str(data), "--device", given.device]
    return result


def main(arguments: list[str] | None = None) -> int:
    known = "\n".join(f"  {name:14} {promise.summary}" for name, promise in PROMISES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance",
        description=__doc__,
        epilog=f"promises:\n{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; by default all")
    parser.add_argument("--facts", type=Path, help="CounterFact records, one JSON object a line")
    parser.add_argument("--text", type=Path, help="ordinary text that drift is measured on")
    parser.add_argument("--device", default="cpu", help="what runs the model in comparisons of methods: cpu or cuda")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON files")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in PROMISES]:
        parser.error(f"no promise {unknown[0]!r}; known: {', '.join(PROMISES)}")
    data = load_settings().data
    commands = {name: command(name, given, data) for name in given.names or PROMISES}
    for name, line in commands.items():
        if line is None and given.names:
            parser.error(f"{name} needs --facts FILE" + (" and --text FILE" if PROMISES[name].needs_text else ""))
    missed = []
    for name, line in commands.items():
        if line is None:
            print(f"{name} is left out: it needs --facts FILE or --text FILE", file=sys.stderr)
            continue
        print(f"\n{name}: {PROMISES[name].summary}", flush=True)
        if subprocess.run(line, check=False).returncode:
            missed.append(name)
    if missed:
        print(f"\nnot held, or not finished: {', '.join(missed)}", file=sys.stderr)
    return len(missed)


if __name__ == "__main__":
    sys.exit(main())
