"""Editing at the size of the models that papers report, on an accelerator: random weights, real facts' lengths.

    python -m benchmarks.accelerator --facts counterfact.jsonl --output out.json

Weights are random, since only shapes cost time, and every fact takes all of its steps. Prompts, subjects and targets
are those of the facts file in the tokens of `--tokenizer`, taken modulo the model's vocabulary. Float32 models multiply
in TF32. FLOP are those that the method needs (`benchmarks.values.flop`); the matrix rate is that of a large square
product in the same format, measured beside it.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, GPT2Config, GPTJConfig, LlamaConfig, PretrainedConfig

from api_schemas.facts import Fact, subject_key
from api_schemas.settings import SettingsOverrides
from benchmarks.facts import CONTEXT_RESERVE, read_facts
from benchmarks.matrix_rate import matrix_rate
from benchmarks.results import environment, write_result
from benchmarks.values import FIXED, flop
from editing.covariance.accumulation import key_moments
from editing.covariance.method_metric import key_metrics
from editing.covariance.statistic import Statistic, make_statistic
from editing.errors import FactError
from editing.methods import ALGORITHMS, EditSettings, ModelShape, resolve_settings
from editing.model.decoder import Decoder
from editing.model.token_sequences import TokenSequences
from editing.solve.batch import solve_batch
from editing.solve.layers import changed
from editing.subjects import FactTokens, PromptTokens
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup, TokenizedFact, tokenize_facts
from editing.values.optimisation import optimise_values
from editing.values.sequences import sequences_of

STEPS = 20
CONTEXTS, CONTEXT_TOKENS = 5, 10
STATISTIC_MULTIPLIER = 10
"""Tokens of C0 for each of the layer's inputs."""
ROW_TOKENS = 512
FORMATS = {"bfloat16": torch.bfloat16, "tf32": torch.float32}


@dataclass(frozen=True)
class Shape:
    """A model's shape: `facts` are edited to measure the rate; `whole` of them, if any, go on to C0 and the solve."""

    config: PretrainedConfig
    facts: int
    whole: int = 0


SHAPES = {
    "gpt2-xl": Shape(GPT2Config(n_layer=48, n_head=25, n_embd=1600), facts=1024, whole=10_000),
    "gpt-j-6b": Shape(GPTJConfig(), facts=256),
    "llama-2-7b": Shape(LlamaConfig(vocab_size=32_000, intermediate_size=11_008), facts=256),
    "small": Shape(
        GPT2Config(n_layer=4, n_head=4, n_embd=64, vocab_size=1000, bos_token_id=0, eos_token_id=0), facts=8, whole=24
    ),
}
"""`small` is there to see that all of it runs."""


def run(
    facts_file: Path, tokenizer_file: Path, names: Sequence[str], device: torch.device, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """One result for each shape and format, as soon as it is there. Raises FactsFileError."""
    facts = read_facts(facts_file)
    random.Random(seed).shuffle(facts)
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    for name in names:
        for dtype in FORMATS:
            if dtype == "bfloat16" and SHAPES[name].whole:
                yield measure(name, dtype, tokenizer, facts, device, whole=True)
            yield measure(name, dtype, tokenizer, facts, device)


def measure(
    name: str, dtype: str, tokenizer: Tokenizer, facts: Sequence[Fact], device: torch.device, whole: bool = False
) -> dict[str, Any]:
    """One model in one format: values, and for a `whole` batch C0, the solve and the new matrix too."""
    shape = SHAPES[name]
    with free_afterwards(device), tf32(dtype):
        decoder = random_decoder(shape.config, FORMATS[dtype], device)
        groups = random_groups(decoder, tokenizer, facts, shape.whole if whole else shape.facts)
        settings = settings_of(decoder, len(groups))
        contexts = random_contexts(decoder)
        optimise_values(decoder, {}, groups[:4], contexts, settings.model_copy(update={"steps": 1}))  # warm-up
        rates = [matrix_rate(device, decoder.dtype)]
        peak(device, reset=True)
        with seconds(device) as of_values:
            values = optimise_values(decoder, {}, groups, contexts, settings)
        rates.append(matrix_rate(device, decoder.dtype))
        rate = sum(rates) / len(rates)
        operations = flop(decoder, sequences_of(groups, contexts, settings.kl_factor), values)
        result: dict[str, Any] = {
            "model": name,
            "format": dtype,
            "facts": len(groups),
            "steps": STEPS,
            "layer": values.layer,
            "values_seconds": of_values[0],
            "facts_per_second": len(groups) / of_values[0],
            "tflops": operations / of_values[0] / 1e12,
            "matrix_tflops": rate / 1e12,
            "share_of_matrix_rate": operations / of_values[0] / rate,
            "mean_loss": float(values.losses.mean()),
            "reached": int(values.reached.sum()),
            "peak_gib": peak(device),
        }
        if whole:
            peak(device, reset=True)
            with seconds(device) as of_statistic:
                statistic = random_statistic(decoder, values.layer)
            with seconds(device) as of_solve:
                metrics = key_metrics(ALGORITHMS["emmet"], {values.layer: statistic}, settings)
                edit = solve_batch(
                    decoder, {}, metrics, groups, contexts, values, settings, lambda matrices, listened: ()
                )
                layer = edit.layers[values.layer]
                matrix = changed(decoder.projections[values.layer], None, layer.delta())
            projection = decoder.projections[values.layer]
            report = layer.report(projection.weight.T if projection.transposed else projection.weight, statistic)
            result |= {
                "statistic_seconds": of_statistic[0],
                "statistic_tokens": statistic.tokens,
                "solve_seconds": of_solve[0],
                "values_and_solve_seconds": of_values[0] + of_solve[0],
                "side": layer.solutions[-1].side,
                "mu_used": layer.solutions[-1].mu_used,
                "memorization_error": report.memorization_error,
                "finite": bool(torch.isfinite(matrix).all()),
                "solve_peak_gib": peak(device),
            }
        return result


def random_decoder(config: PretrainedConfig, dtype: torch.dtype, device: torch.device) -> Decoder:
    with torch.device(device):
        torch.manual_seed(0)
        return Decoder(AutoModelForCausalLM.from_config(config, dtype=dtype))


def random_groups(decoder: Decoder, tokenizer: Tokenizer, facts: Sequence[Fact], number: int) -> list[SubjectGroup]:
    """`number` facts as groups of their own, distinct subjects first; those that the tokenizer cannot take left out."""
    first: dict[str, TokenizedFact] = {}
    others: list[TokenizedFact] = []
    for fact in facts:
        if len(first) == number:
            break
        try:
            (tokenized,) = tokenize_facts(tokenizer, [fact], decoder.context_length, CONTEXT_RESERVE)
        except FactError:
            continue
        if first.setdefault(subject_key(fact.subject), tokenized) is not tokenized:
            others.append(tokenized)
    chosen = [*first.values(), *others][:number]
    return [SubjectGroup(one.fact.subject, (_within(one, decoder.vocabulary),)) for one in chosen]


def _within(fact: TokenizedFact, vocabulary: int) -> TokenizedFact:
    def shortened(text: PromptTokens) -> PromptTokens:
        return replace(
            text,
            prompt=tuple(token % vocabulary for token in text.prompt),
            target=tuple(token % vocabulary for token in text.target),
        )

    tokens = fact.tokens
    return replace(
        fact, tokens=FactTokens(shortened(tokens.bare), shortened(tokens.continued), shortened(tokens.essence))
    )


def settings_of(decoder: Decoder, facts: int) -> EditSettings:
    """EMMET's for this shape; μ relative, since random keys have a scale of their own, and no repair, which would
    listen to noise."""
    shape = ModelShape(decoder.architecture.model_type, len(decoder.layers), decoder.projections[0].d_in)
    chosen = resolve_settings(ALGORITHMS["emmet"], shape, SettingsOverrides(mu_relative=0.1, repair_rounds=0))
    return chosen.model_copy(update={**FIXED, "steps": STEPS})


def random_contexts(decoder: Decoder) -> tuple[Context, ...]:
    chance = random.Random(0)
    return tuple(
        Context("", tuple(chance.randrange(decoder.vocabulary) for _ in range(CONTEXT_TOKENS))) for _ in range(CONTEXTS)
    )


def random_statistic(decoder: Decoder, layer: int) -> Statistic:
    """C0 of random tokens, with its factor."""
    chance = random.Random(0)
    tokens = STATISTIC_MULTIPLIER * decoder.projections[layer].d_in
    length = min(ROW_TOKENS, decoder.context_length)
    rows = TokenSequences.of(
        [[chance.randrange(decoder.vocabulary) for _ in range(length)] for _ in range(-(-tokens // length))]
    )
    sums = key_moments(decoder, (layer,), rows, most_tokens=16 * length)
    return make_statistic(sums.moment(layer), layer=layer, tokens=sums.tokens, corpus="random", fingerprint="random")


@contextmanager
def tf32(dtype: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def free_afterwards(device: torch.device) -> Iterator[None]:
    yield
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def seconds(device: torch.device) -> Iterator[list[float]]:
    """A list that holds, after the block, how long it took, all of the device's work included."""
    found: list[float] = []
    wait(device)
    started = time.perf_counter()
    yield found
    wait(device)
    found.append(time.perf_counter() - started)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak(device: torch.device, reset: bool = False) -> float | None:
    """GiB of the device's memory held at most since the last reset, the model included."""
    if device.type != "cuda":
        return None
    found = torch.cuda.max_memory_allocated(device) / 2**30
    if reset:
        torch.cuda.reset_peak_memory_stats(device)
    return found


def show(result: dict[str, Any]) -> None:
    line = (
        f"{result['model']:11} {result['format']:9} {result['facts']:6} facts {result['values_seconds']:8.1f} s "
        f"{result['facts_per_second']:7.1f} facts/s {result['tflops']:6.0f} of {result['matrix_tflops']:.0f} TFLOP/s "
        f"({result['share_of_matrix_rate']:.2f})"
    )
    if "solve_seconds" in result:
        line += f"; C0 {result['statistic_seconds']:.1f} s, solve {result['solve_seconds']:.1f} s"
    print(line, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--facts", type=Path, required=True, help="facts, a JSON object to a line")
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json, for the lengths of texts")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=[name for name in SHAPES if name != "small"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda, cuda:N or cpu")
    parser.add_argument("--output", type=Path, help="a JSON file, written after each result")
    given = parser.parse_args(arguments)
    results = []
    for result in run(given.facts, given.tokenizer, given.shapes, torch.device(given.device)):
        show(result)
        results.append(result)
        if given.output is not None:
            write_result(given.output, {"environment": environment(), "results": results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
