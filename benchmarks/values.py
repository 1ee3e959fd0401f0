"""How fast values are found: against the plain way, and against what this machine's matrix products allow.

    python -m benchmarks.values --facts counterfact.jsonl --limit 64 --output out.json

Plain way, ours and the matrix rate are measured by turns in one run, so that their ratios do not depend on how busy
the machine is. Our facts' losses after as many steps stand beside the plain way's.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from api_schemas.algorithms import ALGORITHMS, EditSettings, SettingsOverrides, resolve_settings
from api_schemas.facts import Fact
from benchmarks.plain_values import PlainValue, plain_value
from benchmarks.results import environment, write_result
from editing.contexts import Context, sample_contexts
from editing.decoder import Decoder
from editing.default_model import DEFAULT_MODEL
from editing.errors import FactError
from editing.facts import SubjectGroup, group_by_subject, tokenize_facts
from editing.keys import subject_states
from editing.loading import LoadedModel, load_model
from editing.rows import Row
from editing.values import ValueOptimisation, Values

FIXED = {"stop_loss": 0.0, "stop_after_argmax": -1}
"""Settings under which every fact takes all of its steps, so that times and losses can be compared."""
KEY_FACTS = 128
TURNS = 3
MATRIX_SIZE = 2048
OPERATIONS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "attention": ("attention",),
    "loss": ("log_softmax", "gather", "argmax", "kl_div"),
    "moving data": ("copy", "aten::cat", "aten::index", "fill", "slice", "select", "stack"),
}


def run(
    facts_file: Path,
    limit: int,
    output: Path | None = None,
    *,
    model: str = DEFAULT_MODEL,
    data: Path,
    steps: int = 20,
    plain_facts: int = 12,
    half_precision: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure, print a table, write `output` as JSON and return what was written.

    `limit` facts with distinct subjects are optimised together by ours, the first `plain_facts` of them one at a time
    by the plain way, for `steps` steps each. `data` is the folder that the model is kept in. With `half_precision` ours
    is run once more on the model in bfloat16.
    """
    loaded = load_model(model, cache=data)
    groups = draw(loaded, facts_file, max(limit, KEY_FACTS), seed)
    settings = resolve_settings(ALGORITHMS["emmet"], loaded.shape, SettingsOverrides())
    contexts = sample_contexts(
        loaded.decoder, {}, loaded.backend_tokenizer, settings.contexts, settings.context_tokens, seed
    )
    result = {
        "environment": environment() | {"threads": torch.get_num_threads()},
        "model": loaded.name,
        "settings": settings.model_dump(mode="json") | {"steps": steps},
        "facts": min(limit, len(groups)),
        **compare(loaded.decoder, groups[:limit], contexts, settings, steps, plain_facts),
    }
    result["keys"] = keys_share(loaded.decoder, groups, contexts, settings, result)
    if half_precision:
        half = load_model(model, cache=data, dtype=torch.bfloat16)
        result["bfloat16"] = ours(half.decoder, groups[:limit], contexts, fixed(settings, steps))[1]
    show(result)
    if output is not None:
        write_result(output, result)
    return result


def draw(model: LoadedModel, facts_file: Path, number: int, seed: int) -> list[SubjectGroup]:
    """`number` facts of a JSONL file with distinct subjects, at random, each a group of its own."""
    records = [json.loads(line) for line in facts_file.read_text().splitlines()]
    random.Random(seed).shuffle(records)
    chosen: dict[str, Fact] = {}
    for record in records:
        fact = Fact.model_validate(record)
        try:
            tokenize_facts(model.backend_tokenizer, [fact], model.decoder.context_length, reserve=16)
        except FactError:
            continue
        chosen.setdefault(" ".join(fact.subject.split()), fact)
        if len(chosen) == number:
            break
    facts = tuple(chosen.values())
    return list(group_by_subject(tokenize_facts(model.backend_tokenizer, facts, model.decoder.context_length, 16)))


def fixed(settings: EditSettings, steps: int) -> EditSettings:
    return settings.model_copy(update={**FIXED, "steps": steps})


def compare(
    decoder: Decoder,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    settings: EditSettings,
    steps: int,
    plain_facts: int,
) -> dict[str, Any]:
    """The plain way and ours by turns, with the matrix rate in between."""
    all_steps = fixed(settings, steps)
    ours(decoder, groups[:2], contexts, fixed(settings, 1))  # warm-up
    plain_value(decoder.model, groups[0], contexts, fixed(settings, 1))
    rates = [matrix_rate(decoder.device)]
    plain: list[PlainValue] = []
    plain_seconds = 0.0
    runs: list[tuple[Values, dict[str, Any]]] = []
    turns = [all_steps, settings]
    for turn in range(TURNS):
        started = time.perf_counter()
        for group in groups[turn * plain_facts // TURNS : (turn + 1) * plain_facts // TURNS]:
            plain.append(plain_value(decoder.model, group, contexts, all_steps))
        plain_seconds += time.perf_counter() - started
        rates.append(matrix_rate(decoder.device))
        if turn < len(turns):
            runs.append(ours(decoder, groups, contexts, turns[turn]))
            rates.append(matrix_rate(decoder.device))
    (values, at_equal_steps), (_, early) = runs
    per_fact = plain_seconds / len(plain)
    rate = sum(rates) / len(rates)
    our_losses = values.losses[: len(plain)].tolist()
    plain_losses = [value.loss for value in plain]
    return {
        "plain": {
            "facts": len(plain),
            "seconds_per_fact": per_fact,
            "seconds_per_step": per_fact / (steps + 1),
            "losses": plain_losses,
        },
        "ours": at_equal_steps | {"losses_of_plain_facts": our_losses},
        "ours_early_stopping": early,
        "speedup": per_fact / at_equal_steps["seconds_per_fact"],
        "speedup_early_stopping": per_fact / early["seconds_per_fact"],
        "mean_loss_plain": sum(plain_losses) / len(plain),
        "mean_loss_ours": sum(our_losses) / len(plain),
        "matrix_gflops": rate / 1e9,
        "matrix_gflops_measured": [one / 1e9 for one in rates],
        "share_of_matrix_rate": at_equal_steps["gflop"] * 1e9 / at_equal_steps["seconds"] / rate,
        "step_time": step_time(decoder, groups, contexts, all_steps),
    }


def ours(
    decoder: Decoder, groups: Sequence[SubjectGroup], contexts: Sequence[Context], settings: EditSettings
) -> tuple[Values, dict[str, Any]]:
    """`optimise_values`, in its two parts: what is computed once, and the steps."""
    started = time.perf_counter()
    optimisation = ValueOptimisation(decoder, {}, groups, contexts, settings)
    prepared = time.perf_counter() - started
    values = optimisation.run()
    seconds = time.perf_counter() - started
    return values, {
        "seconds": seconds,
        "seconds_per_fact": seconds / len(groups),
        "preparation_seconds": prepared,
        "gflop": flop(decoder, optimisation.rows, values) / 1e9,
        "mean_steps": float(values.steps.float().mean()),
        "mean_loss": float(values.losses.mean()),
        "reached": int(values.reached.sum()),
    }


def flop(decoder: Decoder, rows: Sequence[Row], values: Values) -> float:
    """Multiplications and additions of the matrix products that the method needs; padding and attention's own left out.

    Once: all tokens through the layers to l, prefixes through the rest. Each step: suffixes through the rest and reads
    through the vocabulary projection, forwards and backwards to the input; and forwards once more at the end.
    """
    below = sum(_matrix_entries(layer) for layer in decoder.layers[: values.layer + 1])
    above = sum(_matrix_entries(layer) for layer in decoder.layers[values.layer + 1 :])
    head = _matrix_entries(decoder.head)
    steps = values.steps.tolist()
    total = 0.0
    for row in rows:
        total += 2 * (below * len(row.tokens) + above * row.subject)
        total += (4 * steps[row.group] + 2) * (above * row.suffix_length + head * row.reads)
    return total


def _matrix_entries(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 2)


def matrix_rate(device: torch.device, repetitions: int = 12) -> float:
    """Floating-point operations a second of a large square matrix product in float32; the best of a few runs."""
    a, b = (torch.randn(MATRIX_SIZE, MATRIX_SIZE, device=device) for _ in range(2))
    best = float("inf")
    for _ in range(repetitions):
        started = time.perf_counter()
        product = torch.nn.functional.linear(a, b)
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - started)
    return 2 * MATRIX_SIZE**3 / best


def step_time(
    decoder: Decoder, groups: Sequence[SubjectGroup], contexts: Sequence[Context], settings: EditSettings
) -> dict[str, Any]:
    """Where the time of one step goes, as shares by kind of operation, and what of its tokens is padding."""
    optimisation = ValueOptimisation(decoder, {}, groups, contexts, settings)
    blocks = optimisation.blocks()
    optimisation.evaluate(blocks, with_gradient=True)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        optimisation.evaluate(blocks, with_gradient=True)
    kinds = dict.fromkeys([*OPERATIONS, "norms, activations and the rest"], 0.0)
    for event in profiled.key_averages():
        kind = next((kind for kind, names in OPERATIONS.items() if any(name in event.key for name in names)), None)
        kinds[kind or "norms, activations and the rest"] += event.self_cpu_time_total
    slots = sum(block.stream.shape[0] * block.stream.shape[1] for block in blocks)
    return {
        "shares": {kind: spent / sum(kinds.values()) for kind, spent in kinds.items()},
        "blocks": len(blocks),
        "padding": 1 - sum(row.suffix_length for row in optimisation.rows) / slots,
    }


def keys_share(
    decoder: Decoder,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    settings: EditSettings,
    result: dict[str, Any],
) -> dict[str, Any]:
    """Keys alone, which `optimise_values` gives anyway, and their time over that of as many values."""
    layer = max(settings.layers)
    started = time.perf_counter()
    keys: Tensor = subject_states(decoder, {}, groups, contexts, [layer], layer).keys[layer]
    seconds = time.perf_counter() - started
    number = keys.shape[0]
    return {
        "facts": number,
        "seconds": seconds,
        "share_of_values": seconds / (number * result["ours"]["seconds_per_fact"]),
        "share_of_values_early_stopping": seconds / (number * result["ours_early_stopping"]["seconds_per_fact"]),
    }


def show(result: dict[str, Any]) -> None:
    plain, fixed_steps, early = result["plain"], result["ours"], result["ours_early_stopping"]
    lines = [
        ("plain, seconds a fact", f"{plain['seconds_per_fact']:.2f}"),
        ("ours, seconds a fact, equal steps", f"{fixed_steps['seconds_per_fact']:.2f}"),
        ("ours, seconds a fact, early stopping", f"{early['seconds_per_fact']:.2f} ({early['mean_steps']:.1f} steps)"),
        ("speedup", f"{result['speedup']:.1f}"),
        ("speedup_early_stopping", f"{result['speedup_early_stopping']:.1f}"),
        ("mean loss, plain and ours", f"{result['mean_loss_plain']:.4f} {result['mean_loss_ours']:.4f}"),
        ("share of the matrix rate", f"{result['share_of_matrix_rate']:.2f} of {result['matrix_gflops']:.0f} GFLOP/s"),
        ("keys, share of values' time", f"{result['keys']['share_of_values']:.3f}"),
        ("preparation, seconds", f"{fixed_steps['preparation_seconds']:.1f} of {fixed_steps['seconds']:.1f}"),
        *((f"  of a step: {kind}", f"{share:.2f}") for kind, share in result["step_time"]["shares"].items()),
        ("  of a step's tokens: padding", f"{result['step_time']['padding']:.2f}"),
    ]
    if half := result.get("bfloat16"):
        lines.append(("bfloat16, seconds a fact, equal steps", f"{half['seconds_per_fact']:.2f}"))
        lines.append(("bfloat16, mean loss of all facts", f"{half['mean_loss']:.4f} ({fixed_steps['mean_loss']:.4f})"))
    for name, figure in lines:
        print(f"{name:40} {figure}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=Path, required=True, help="JSONL file of facts")
    parser.add_argument("--limit", type=int, default=64, help="facts that ours optimises together")
    parser.add_argument("--plain", type=int, default=12, help="facts that the plain way optimises, one at a time")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--data", type=Path, required=True, help="folder that the model is kept in")
    parser.add_argument("--bfloat16", action="store_true", help="run ours on the model in bfloat16 too")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    run(
        given.facts,
        given.limit,
        given.output,
        model=given.model,
        data=given.data,
        steps=given.steps,
        plain_facts=given.plain,
        half_precision=given.bfloat16,
    )


if __name__ == "__main__":
    main()
