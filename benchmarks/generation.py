"""How fast completions are decoded: against transformers' own generate(), with several versions in one batch, and
whether a row says the same alone as among others.

    python -m benchmarks.generation --data DIR

All rates of a comparison are measured by turns in one run. A ratio is the median of those of each turn's two, measured
one after the other, since the machine is not equally fast all the time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.results import environment
from configuration.redis.generation_messages import GenerationRequest, TokensEvent
from editing.covariance.corpus import SelfSampled, held_out_sequences
from editing.model.loading import LoadedModel, load_model
from editing.model.projection import Frame, GatheredRows, Matrices, RowVersions
from editing.progress import ProgressCallback, silent
from editing.sources.default_model import DEFAULT_MODEL
from workers.generation.running_batch import RunningBatch
from workers.generation.sequences import DecodeSequence

ROWS = 32
NEW_TOKENS = 32
TURNS = 11
VERSIONS = 3
ALONE_PROMPTS = 200
ALONE_TOKENS = 16
SHORTEST, LONGEST = 4, 24


@dataclass(frozen=True)
class Run:
    """What a batch said, row by row in token ids, and the tokens of all rows over the seconds that took."""

    tokens: list[list[int]]
    rate: float


def run(
    *,
    model: str = DEFAULT_MODEL,
    data: Path,
    token: str | None = None,
    rows: int = ROWS,
    new_tokens: int = NEW_TOKENS,
    turns: int = TURNS,
    alone: int = ALONE_PROMPTS,
    on_progress: ProgressCallback = silent,
) -> dict[str, Any]:
    """Measure on `model`, kept in `data`: `rows` prompts of ordinary text together, `new_tokens` greedy tokens each.

    `alone` prompts, on the base and the versions by turns, are decoded one at a time and in batches of `rows`, and the
    texts compared.
    """
    loaded = load_model(model, cache=data, token=token, on_progress=on_progress)
    prompts = _prompts(loaded, data, max(rows, alone), on_progress)
    layer = loaded.shape.n_layers // 4
    versions = [_moved(loaded, layer, seed) for seed in range(VERSIONS)]
    several: list[Matrices] = [versions[number % VERSIONS] for number in range(rows)]
    some = prompts[:rows]
    ways: dict[str, Callable[[int], Run]] = {
        "generate": lambda tokens: plain(loaded, some, tokens),
        "base": lambda tokens: ours(loaded, some, [{}] * rows, tokens),
        "one version": lambda tokens: ours(loaded, some, [versions[0]] * rows, tokens),
        "several versions": lambda tokens: ours(loaded, some, several, tokens),
        "several versions gathered": lambda tokens: ours(loaded, some, several, tokens, GatheredRows),
    }
    for way in ways.values():
        way(2)
    found: dict[str, list[Run]] = {name: [] for name in ways}
    for turn in range(turns):
        on_progress("turns", turn, turns)
        # Every other turn backwards, so that none has always the same before it.
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            found[name].append(ways[name](new_tokens))
    same = sum(a == b for a, b in zip(found["generate"][0].tokens, found["base"][0].tokens, strict=True))
    return {
        "environment": environment() | {"threads": torch.get_num_threads()},
        "model": loaded.name,
        "rows": rows,
        "new_tokens": new_tokens,
        "turns": turns,
        "versions": VERSIONS,
        "tokens_per_second": {name: median(run.rate for run in runs) for name, runs in found.items()},
        "tokens_per_second_of_turns": {name: [run.rate for run in runs] for name, runs in found.items()},
        "ours_over_generate": _ratio(found["base"], found["generate"]),
        "several_versions_over_one": _ratio(found["several versions"], found["one version"]),
        "gathered_over_one": _ratio(found["several versions gathered"], found["one version"]),
        "rows_equal_to_generate": same,
        **_alone(loaded, prompts[:alone], [{}, *versions], rows, on_progress),
    }


def _ratio(runs: Sequence[Run], others: Sequence[Run]) -> float:
    """The median over the turns."""
    return median(run.rate / other.rate for run, other in zip(runs, others, strict=True))


def ours(
    loaded: LoadedModel,
    prompts: Sequence[list[int]],
    matrices: Sequence[Matrices],
    new_tokens: int,
    frame_of: Callable[[Sequence[Matrices]], Frame] = RowVersions,
) -> Run:
    """The engine's own decode loop, without the queue around it; every row to its full length."""
    batch = RunningBatch(loaded.decoder, loaded.backend_tokenizer, frozenset(), frame_of)
    rows = [
        DecodeSequence(_request(prompt, new_tokens), 0, of_row, loaded.backend_tokenizer)
        for prompt, of_row in zip(prompts, matrices, strict=True)
    ]
    said: dict[int, list[int]] = {id(row): [] for row in rows}
    started = time.perf_counter()
    batch.join(rows)
    while batch.all_sequences:
        for row, of_row in [*batch.prefill(), *batch.step()]:
            said[id(row)] += [info.id for event in of_row if isinstance(event, TokensEvent) for info in event.tokens]
    seconds = time.perf_counter() - started
    return Run([said[id(row)] for row in rows], len(rows) * new_tokens / seconds)


def plain(loaded: LoadedModel, prompts: Sequence[list[int]], new_tokens: int) -> Run:
    """transformers' generate() on the same rows, left-padded, greedy, every row to its full length."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    started = time.perf_counter()
    out: Tensor = loaded.decoder.model.generate(  # type: ignore[operator]
        ids,
        attention_mask=mask,
        do_sample=False,
        min_new_tokens=new_tokens,
        max_new_tokens=new_tokens,
        eos_token_id=None,
        pad_token_id=0,
    )
    seconds = time.perf_counter() - started
    return Run(out[:, width:].tolist(), len(prompts) * new_tokens / seconds)


def show(result: dict[str, Any]) -> None:
    rates = result["tokens_per_second"]
    lines = [
        *((f"{name}, tokens a second", f"{rate:.1f}") for name, rate in rates.items()),
        ("ours over generate()", f"{result['ours_over_generate']:.2f}"),
        (f"{result['versions']} versions over one", f"{result['several_versions_over_one']:.2f}"),
        (f"{result['versions']} versions gathered over one", f"{result['gathered_over_one']:.2f}"),
        ("rows equal to generate()'s", f"{result['rows_equal_to_generate']} of {result['rows']}"),
        ("texts equal alone and among others", f"{result['equal_alone']} of {result['prompts_alone']}"),
    ]
    for name, figure in lines:
        print(f"{name:40} {figure}")


def _alone(
    loaded: LoadedModel,
    prompts: Sequence[list[int]],
    known: Sequence[Matrices],
    rows: int,
    on_progress: ProgressCallback,
) -> dict[str, Any]:
    of_rows = [known[number % len(known)] for number in range(len(prompts))]
    together: list[list[int]] = []
    for start in range(0, len(prompts), rows):
        part = slice(start, start + rows)
        together += ours(loaded, prompts[part], of_rows[part], ALONE_TOKENS).tokens
    single = []
    for number, (prompt, matrices) in enumerate(zip(prompts, of_rows, strict=True)):
        on_progress("alone", number, len(prompts))
        single += ours(loaded, [prompt], [matrices], ALONE_TOKENS).tokens
    equal = sum(one == other for one, other in zip(together, single, strict=True))
    return {
        "prompts_alone": len(prompts),
        "tokens_alone": ALONE_TOKENS,
        "versions_alone": len(known),
        "equal_alone": equal,
    }


def _prompts(loaded: LoadedModel, data: Path, number: int, on_progress: ProgressCallback) -> list[list[int]]:
    """Pieces of ordinary text of several lengths."""
    rows = held_out_sequences(SelfSampled(), loaded, data / "statistics", on_progress=on_progress)
    ids: list[int] = rows.flat.tolist()
    lengths = [SHORTEST + number % (LONGEST - SHORTEST + 1) for number in range(number)]
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    return [[ids[slot % len(ids)] for slot in range(start, end)] for start, end in pairwise(starts)]


def _moved(loaded: LoadedModel, layer: int, seed: int) -> Matrices:
    """A version whose matrix of `layer` differs a little from the base's, as an edit's does."""
    weight = loaded.decoder.projections[layer].weight.detach()
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)).to(weight)
    return {layer: weight + 0.01 * weight.std() * noise}


def _request(prompt: list[int], new_tokens: int) -> GenerationRequest:
    return GenerationRequest(
        id="bench",
        model="bench",
        version=0,
        prompts=[prompt],
        max_tokens=new_tokens,
        temperature=0.0,
        logprobs=0,
        deadline=time.time() + 3600,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--data", type=Path, required=True, help="folder that the model is kept in")
    parser.add_argument("--alone", type=int, default=ALONE_PROMPTS, help="prompts decoded alone as well")
    parser.add_argument("--turns", type=int, default=TURNS)
    given = parser.parse_args()
    show(run(model=given.model, data=given.data, alone=given.alone, turns=given.turns))


if __name__ == "__main__":
    main()
