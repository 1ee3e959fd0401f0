"""Texts that a version writes after prompts: greedily, as a user would see it, or sampled, to measure fluency."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.decoding import Ended, Pick, continue_prompts, control_tokens
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop, check, never, silent

CACHE_BUDGET = 256 * 1024**2
TEXT_TOKENS = 100
TOP_K = 5
_MOST_ROWS = 64


def greedy_texts(
    decoder: Decoder,
    matrices: Matrices,
    tokenizer: Tokenizer,
    prompts: Sequence[tuple[int, ...]],
    lengths: Sequence[int],
    *,
    stop: Collection[int] = (),
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> list[str]:
    """The most probable continuation of each prompt, `lengths[n]` tokens or up to one of `stop`, alone."""

    (texts,) = greedy_texts_of_versions(
        decoder, [matrices], tokenizer, prompts, lengths, stop=stop, on_progress=on_progress, should_stop=should_stop
    )
    return texts


def greedy_texts_of_versions(
    decoder: Decoder,
    versions: Sequence[Matrices],
    tokenizer: Tokenizer,
    prompts: Sequence[tuple[int, ...]],
    lengths: Sequence[int],
    *,
    stop: Collection[int] = (),
    ended: Callable[[int, str], bool] | None = None,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> list[list[str]]:
    """For each of `versions` what `greedy_texts` gives, decoded side by side.

    `ended` is asked of each prompt's number and the text so far whether that needs no more.
    """
    several, number = len(versions), len(prompts)

    def picks(_: Sequence[int]) -> Pick:
        return lambda logits, rows: logits.argmax(-1)

    def has_ended(row: int, tokens: Sequence[int]) -> bool:
        return ended is not None and ended(row % number, tokenizer.decode(list(tokens), skip_special_tokens=True))

    made = _continuations(
        decoder,
        [matrices for matrices in versions for _ in prompts],
        [*prompts] * several,
        [*lengths] * several,
        picks,
        stop,
        "greedy",
        on_progress,
        should_stop,
        None if ended is None else has_ended,
    )
    texts = _decoded(tokenizer, made)
    return [texts[number * n : number * (n + 1)] for n in range(several)]


def sampled_texts(
    decoder: Decoder,
    matrices: Matrices,
    tokenizer: Tokenizer,
    prompts: Sequence[tuple[int, ...]],
    lengths: Sequence[int],
    *,
    seed: int,
    with_prompts: bool = False,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> list[str]:
    """A text of `lengths[n]` tokens after prompt n, each token sampled among the `TOP_K` most probable.

    `with_prompts`: each text begins with its prompt, decoded together with it.

    Prompt n has a generator of its own, seeded with `seed` + n, so that its text does not depend on the other prompts.
    Control tokens are never sampled: every text has its full length.
    """
    control = control_tokens(decoder, tokenizer)

    def picks(numbers: Sequence[int]) -> Pick:
        generators = [torch.Generator().manual_seed(seed + number) for number in numbers]

        def pick(logits: Tensor, rows: Tensor) -> Tensor:
            logits = logits.double()
            logits[:, control] = -torch.inf
            best = logits.topk(min(TOP_K, logits.shape[1]))
            drawn = torch.cat([torch.rand(1, dtype=torch.float64, generator=generators[row]) for row in rows.tolist()])
            cumulative = best.values.softmax(-1).cumsum(-1)
            rank = (cumulative < drawn.to(logits.device)[:, None]).sum(1).clamp_(max=best.indices.shape[1] - 1)
            return best.indices.gather(1, rank[:, None])[:, 0]

        return pick

    made = _continuations(
        decoder, [matrices] * len(prompts), prompts, lengths, picks, (), "texts", on_progress, should_stop
    )
    if with_prompts:
        made = [[*prompt, *tokens] for prompt, tokens in zip(prompts, made, strict=True)]
    return _decoded(tokenizer, made)


def _decoded(tokenizer: Tokenizer, sequences: Sequence[Sequence[int]]) -> list[str]:
    return [tokenizer.decode(list(tokens), skip_special_tokens=True) for tokens in sequences]


def _continuations(
    decoder: Decoder,
    versions: Sequence[Matrices],
    prompts: Sequence[tuple[int, ...]],
    lengths: Sequence[int],
    picks: Callable[[Sequence[int]], Pick],
    stop: Collection[int],
    stage: str,
    on_progress: ProgressCallback,
    should_stop: ShouldStop,
    ended: Ended | None = None,
) -> list[list[int]]:
    """The new tokens of each prompt by its version, in the prompts' order."""
    made: list[list[int]] = [[] for _ in prompts]
    done = 0
    for numbers in _batches(decoder, [len(p) + n for p, n in zip(prompts, lengths, strict=True)]):
        pick = picks(numbers)

        def pick_or_stop(logits: Tensor, rows: Tensor, pick: Pick = pick) -> Tensor:
            check(should_stop, "generating text")
            return pick(logits, rows)

        def row_ended(row: int, tokens: Sequence[int], numbers: Sequence[int] = numbers) -> bool:
            return ended is not None and ended(numbers[row], tokens)

        rows = continue_prompts(
            decoder,
            [prompts[n] for n in numbers],
            [lengths[n] for n in numbers],
            pick_or_stop,
            stop=stop,
            versions=[versions[n] for n in numbers],
            ended=None if ended is None else row_ended,
        )
        for number, row in zip(numbers, rows, strict=True):
            made[number] = row
        done += len(numbers)
        on_progress(stage, done, len(prompts))
    return made


def _batches(decoder: Decoder, lengths: Sequence[int]) -> list[list[int]]:
    """Rows of like length together, as many as the key-value cache has memory for."""
    order = sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    batches = []
    start = 0
    while start < len(order):
        rows = CACHE_BUDGET // (lengths[order[start]] * cache_bytes_per_token(decoder))
        stop = start + max(1, min(_MOST_ROWS, rows))
        batches.append(order[start:stop])
        start = stop
    return batches


def cache_bytes_per_token(decoder: Decoder) -> int:
    """What one token of one row takes in a key-value cache of all layers."""
    config = decoder.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * int(heads) * int(head_dim) * len(decoder.layers) * decoder.dtype.itemsize
