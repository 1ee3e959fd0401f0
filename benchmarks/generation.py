"""How fast completions are decoded: against transformers' own generate(), with several versions in one batch, and
whether a row says the same alone as among others.

    python -m benchmarks.generation --data DIR

All rates of a comparison are measured by turns in one run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from api_schemas.generation import GenerationRequest, TokensEvent
from benchmarks.results import environment
from editing.corpus import SelfSampled, held_out_rows
from editing.default_model import DEFAULT_MODEL
from editing.loading import LoadedModel, load_model
from editing.progress import Progress, silent
from editing.projection import Matrices
from workers.generation.decoding import DecodeBatch
from workers.generation.rows import Row

ROWS = 32
NEW_TOKENS = 64
TURNS = 3
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
    on_progress: Progress = silent,
) -> dict[str, Any]:
    """Measure on `model`, kept in `data`: `rows` prompts of ordinary text together, `new_tokens` greedy tokens each.

    `alone` prompts are decoded one at a time and in batches of `rows`, and their texts compared.
    """
    loaded = load_model(model, cache=data, token=token, on_progress=on_progress)
    prompts = _prompts(loaded, data, max(rows, alone), on_progress)
    layer = loaded.shape.n_layers // 4
    versions = [_moved(loaded, layer, seed) for seed in range(VERSIONS)]
    one: list[Matrices] = [versions[0]] * rows
    several: list[Matrices] = [versions[number % VERSIONS] for number in range(rows)]
    some = prompts[:rows]
    ours(loaded, some, one, 2)
    plain(loaded, some, 2)
    found: dict[str, list[Run]] = {"generate": [], "base": [], "one version": [], "several versions": []}
    for turn in range(turns):
        on_progress("turns", turn, turns)
        found["generate"].append(plain(loaded, some, new_tokens))
        found["base"].append(ours(loaded, some, [{}] * rows, new_tokens))
        found["one version"].append(ours(loaded, some, one, new_tokens))
        found["several versions"].append(ours(loaded, some, several, new_tokens))
    rates = {name: sum(run.rate for run in runs) / turns for name, runs in found.items()}
    same = sum(a == b for a, b in zip(found["generate"][0].tokens, found["base"][0].tokens, strict=True))
    return {
        "environment": environment() | {"threads": torch.get_num_threads()},
        "model": loaded.name,
        "rows": rows,
        "new_tokens": new_tokens,
        "versions": VERSIONS,
        "tokens_per_second": rates,
        "tokens_per_second_of_turns": {name: [run.rate for run in runs] for name, runs in found.items()},
        "ours_over_generate": rates["base"] / rates["generate"],
        "several_versions_over_one": rates["several versions"] / rates["one version"],
        "rows_equal_to_generate": same,
        **_alone(loaded, prompts[:alone], rows, on_progress),
    }


def ours(loaded: LoadedModel, prompts: Sequence[list[int]], matrices: Sequence[Matrices], new_tokens: int) -> Run:
    """The lane's own decode loop, without the queue around it; every row to its full length."""
    batch = DecodeBatch(loaded.decoder, loaded.backend_tokenizer, frozenset())
    rows = [
        Row(_request(prompt, new_tokens), 0, of_row, loaded.backend_tokenizer)
        for prompt, of_row in zip(prompts, matrices, strict=True)
    ]
    said: dict[int, list[int]] = {id(row): [] for row in rows}
    started = time.perf_counter()
    events = list(batch.join(rows))
    while events:
        for row, of_row in events:
            said[id(row)] += [info.id for event in of_row if isinstance(event, TokensEvent) for info in event.tokens]
        events = batch.step()
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
        ("rows equal to generate()'s", f"{result['rows_equal_to_generate']} of {result['rows']}"),
        ("texts equal alone and among others", f"{result['equal_alone']} of {result['prompts_alone']}"),
    ]
    for name, figure in lines:
        print(f"{name:40} {figure}")


def _alone(loaded: LoadedModel, prompts: Sequence[list[int]], rows: int, on_progress: Progress) -> dict[str, Any]:
    together: list[list[int]] = []
    for start in range(0, len(prompts), rows):
        part = prompts[start : start + rows]
        together += ours(loaded, part, [{}] * len(part), ALONE_TOKENS).tokens
    single = []
    for number, prompt in enumerate(prompts):
        on_progress("alone", number, len(prompts))
        single += ours(loaded, [prompt], [{}], ALONE_TOKENS).tokens
    equal = sum(one == other for one, other in zip(together, single, strict=True))
    return {"prompts_alone": len(prompts), "tokens_alone": ALONE_TOKENS, "equal_alone": equal}


def _prompts(loaded: LoadedModel, data: Path, number: int, on_progress: Progress) -> list[list[int]]:
    """Pieces of ordinary text of several lengths."""
    rows = held_out_rows(SelfSampled(), loaded, data / "statistics", on_progress=on_progress)
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
