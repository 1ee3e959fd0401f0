"""How fast values are found: against the plain way, and against what this machine's matrix products allow.

    emmetd bench values --facts counterfact.jsonl --limit 64 --output out.json

Plain way, ours and the matrix rate are measured by turns in one run, so that their ratios do not depend on how busy
the machine is. Our facts' losses after as many steps stand beside the plain way's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from api_schemas.settings import SettingsOverrides
from benchmarks.facts import draw_groups, read_facts
from benchmarks.matrix_rate import matrix_rate
from benchmarks.plain_values import PlainValue, plain_value
from benchmarks.results import environment, write_result
from editing.methods import ALGORITHMS, EditSettings, resolve_settings
from editing.model.decoder import Decoder
from editing.model.loading import load_model
from editing.progress import ProgressCallback, silent
from editing.sources.default_model import DEFAULT_MODEL
from editing.values.contexts import Context, sample_contexts
from editing.values.facts import SubjectGroup
from editing.values.keys import subject_states
from editing.values.optimisation import ValueOptimisation
from editing.values.sequences import ValueSequence
from editing.values.value_set import Values

FIXED = {"stop_loss": 0.0, "stop_after_argmax": -1}
"""Settings under which every fact takes all of its steps, so that times and losses can be compared."""
KEY_FACTS = 128
TURNS = 3
HALF_SECONDS = 90
"""About how long the run in bfloat16 may take."""
OPERATIONS = {
    "matrix products": ("aten::mm", "aten::addmm"),
    "attention's products": ("aten::bmm",),
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
    token: str | None = None,
    steps: int = 20,
    plain_facts: int = 12,
    half_precision: bool = True,
    seed: int = 0,
    on_progress: ProgressCallback = silent,
) -> dict[str, Any]:
    """Measure, write `output` as JSON and return what was written; `show` prints it.

    `limit` facts with distinct subjects are optimised together by ours, the first `plain_facts` of them one at a time
    by the plain way, for `steps` steps each. `data` is the folder that the model is kept in. With `half_precision` ours
    is run once more on the model in bfloat16. Raises FactsFileError, and ModelLoadError or UnsupportedModelError.
    """
    facts = read_facts(facts_file)
    loaded = load_model(model, cache=data, token=token, rounded_products=True, on_progress=on_progress)
    groups = draw_groups(loaded, facts, max(limit, KEY_FACTS), seed)
    some = groups[:limit]
    settings = resolve_settings(ALGORITHMS["emmet"], loaded.shape, SettingsOverrides())
    contexts = sample_contexts(
        loaded.decoder, {}, loaded.backend_tokenizer, settings.context_texts, settings.context_tokens, seed
    )
    result = {
        "environment": environment() | {"threads": torch.get_num_threads()},
        "model": loaded.name,
        "settings": settings.model_dump(mode="json") | {"steps": steps},
        "facts": len(some),
        **compare(loaded.decoder, some, contexts, settings, steps, min(plain_facts, len(some)), on_progress),
    }
    on_progress("keys", 0, len(groups))
    result["keys"] = keys_share(loaded.decoder, groups, contexts, settings, result)
    if half_precision:
        half = load_model(model, cache=data, dtype=torch.bfloat16).decoder
        result["bfloat16"] = in_bfloat16(half, some, contexts, fixed(settings, steps), result, on_progress)
    if output is not None:
        write_result(output, result)
    return result


def fixed(settings: EditSettings, steps: int) -> EditSettings:
    return settings.model_copy(update={**FIXED, "steps": steps})


def compare(
    decoder: Decoder,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    settings: EditSettings,
    steps: int,
    plain_facts: int,
    on_progress: ProgressCallback = silent,
) -> dict[str, Any]:
    """The plain way and ours by turns, with the matrix rate in between."""
    all_steps = fixed(settings, steps)
    ours(decoder, groups[:2], contexts, fixed(settings, 1))  # warm-up
    plain_value(decoder.model, groups[0], contexts, fixed(settings, 1))
    rates = [matrix_rate(decoder.device)]
    plain: list[PlainValue] = []
    plain_seconds = 0.0
    runs: list[tuple[Values, dict[str, Any]]] = []
    turns = [all_steps, settings.model_copy(update={"steps": steps})]
    for turn in range(TURNS):
        started = time.perf_counter()
        for group in groups[turn * plain_facts // TURNS : (turn + 1) * plain_facts // TURNS]:
            on_progress("plain way", len(plain), plain_facts)
            plain.append(plain_value(decoder.model, group, contexts, all_steps))
        plain_seconds += time.perf_counter() - started
        rates.append(matrix_rate(decoder.device))
        if turn < len(turns):
            runs.append(ours(decoder, groups, contexts, turns[turn], on_progress))
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
    decoder: Decoder,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    settings: EditSettings,
    on_progress: ProgressCallback = silent,
) -> tuple[Values, dict[str, Any]]:
    """`optimise_values`, in its two parts: what is computed once, and the steps."""
    started = time.perf_counter()
    optimisation = ValueOptimisation(decoder, {}, groups, contexts, settings)
    prepared = time.perf_counter() - started
    values = optimisation.run(on_progress)
    seconds = time.perf_counter() - started
    return values, {
        "seconds": seconds,
        "seconds_per_fact": seconds / len(groups),
        "preparation_seconds": prepared,
        "gflop": flop(decoder, optimisation.sequences, values) / 1e9,
        "mean_steps": float(values.steps.float().mean()),
        "mean_loss": float(values.losses.mean()),
        "reached": int(values.reached.sum()),
    }


def flop(decoder: Decoder, sequences: Sequence[ValueSequence], values: Values) -> float:
    """Multiplications and additions of the matrix products that the method needs; padding and attention's own left out.

    Once: all tokens through the layers to l, prefixes through the rest. Each step: suffixes through the rest, but for
    the last layer's MLP, and reads through that and the vocabulary projection, forwards and backwards to the input; and
    forwards once more at the end.
    """
    below = sum(_matrix_entries(layer) for layer in decoder.layers[: values.layer + 1])
    above = sum(_matrix_entries(layer) for layer in decoder.layers[values.layer + 1 :])
    head = _matrix_entries(decoder.head)
    last = _matrix_entries(decoder.layers[-1].get_submodule(decoder.architecture.mlp)) if above else 0
    steps = values.steps.tolist()
    total = 0.0
    for sequence in sequences:
        total += 2 * (below * len(sequence.tokens) + above * sequence.subject)
        total += (4 * steps[sequence.group] + 2) * (
            (above - last) * sequence.suffix_length + (last + head) * sequence.loss_positions
        )
    return total


def _matrix_entries(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 2)


def in_bfloat16(
    decoder: Decoder,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    settings: EditSettings,
    result: dict[str, Any],
    on_progress: ProgressCallback = silent,
) -> dict[str, Any]:
    """Ours on the model in bfloat16, on as many of the facts as this machine can do in a few minutes.

    Processors without instructions for it are slower in bfloat16 than in float32.
    """
    rate = matrix_rate(decoder.device, torch.bfloat16, repetitions=3)
    slower = result["matrix_gflops"] * 1e9 / rate
    affordable = round(HALF_SECONDS / (result["ours"]["seconds_per_fact"] * max(slower, 1.0)))
    some = groups[: max(1, affordable)]
    values, found = ours(decoder, some, contexts, settings, on_progress)
    return found | {
        "facts": len(some),
        "losses_of_plain_facts": values.losses[: result["plain"]["facts"]].tolist(),
        "matrix_gflops": rate / 1e9,
        "speedup": result["plain"]["seconds_per_fact"] / found["seconds_per_fact"],
    }


def step_time(
    decoder: Decoder, groups: Sequence[SubjectGroup], contexts: Sequence[Context], settings: EditSettings
) -> dict[str, Any]:
    """Where the time of one step goes: shares by kind of operation."""
    optimisation = ValueOptimisation(decoder, {}, groups, contexts, settings)
    packed_batches = optimisation.packed_batches()
    optimisation.evaluate(packed_batches, with_gradient=True)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        optimisation.evaluate(packed_batches, with_gradient=True)
    kinds = dict.fromkeys([*OPERATIONS, "norms, activations and the rest"], 0.0)
    for event in profiled.key_averages():
        kind = next((kind for kind, names in OPERATIONS.items() if any(name in event.key for name in names)), None)
        kinds[kind or "norms, activations and the rest"] += event.self_cpu_time_total
    return {
        "shares": {kind: spent / sum(kinds.values()) for kind, spent in kinds.items()},
        "blocks": len(packed_batches),
        "tokens": sum(packed_batch.stream.shape[1] for packed_batch in packed_batches),
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
    ]
    if half := result.get("bfloat16"):
        about = f"{half['seconds_per_fact']:.2f} ({half['facts']} facts, speedup {half['speedup']:.1f})"
        losses = half["losses_of_plain_facts"]
        same = fixed_steps["losses_of_plain_facts"][: len(losses)]
        lines.append(("bfloat16, seconds a fact, equal steps", about))
        lines.append(("bfloat16, mean loss (float32's)", f"{_mean(losses):.4f} ({_mean(same):.4f})"))
    for name, figure in lines:
        print(f"{name:40} {figure}")


def _mean(figures: Sequence[float]) -> float:
    return sum(figures) / len(figures)
