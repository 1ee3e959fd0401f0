"""Decodes many sequences together for measuring and for sampling text, on any version that the thread's frame shows.

Serving completions has an engine of its own; here sequences start together and are only counted in tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.prefix import SharedBeginning, shared_beginning
from editing.model.projection import Matrices, frame, frame_of

Pick = Callable[[Tensor, Tensor], Tensor]
"""Logits (sequences, vocabulary) in float32 or better and the sequences' numbers (sequences,) → the next token ids
(sequences,)."""


Ended = Callable[[int, Sequence[int]], bool]
"""A sequence's number and what it was continued by → whether it needs no more."""


class GrowingCache:
    """A key-value cache (`decoder.LayerCache`) with room for `capacity` tokens, allocated once for each layer."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if layer not in self._layers:
            shape = (*keys.shape[:2], self.capacity, keys.shape[3])
            self._layers[layer] = (keys.new_empty(shape), values.new_empty((*shape[:3], values.shape[3])))
        cached_keys, cached_values = self._layers[layer]
        end = self.length + keys.shape[2]
        cached_keys[:, :, self.length : end] = keys
        cached_values[:, :, self.length : end] = values
        return cached_keys[:, :, :end], cached_values[:, :, :end]

    def advance(self, tokens: int) -> None:
        """Count `tokens` as present, once all layers have put theirs in."""
        self.length += tokens

    def select(self, sequences: Tensor) -> None:
        """Let go of all sequences but `sequences` (int64)."""
        for layer, (keys, values) in self._layers.items():
            self._layers[layer] = (keys[sequences], values[sequences])


def stop_tokens(decoder: Decoder) -> frozenset[int]:
    """The tokens after which the model's own settings end a text (EOS, an end of turn)."""
    for settings in (getattr(decoder.model, "generation_config", None), decoder.config):
        eos = getattr(settings, "eos_token_id", None)
        if eos is not None:
            return frozenset(eos if isinstance(eos, list | tuple) else [int(eos)])
    return frozenset()


def control_tokens(decoder: Decoder, tokenizer: Tokenizer) -> list[int]:
    """The tokens that are no text and that the model could say: a tokenizer may know some that have no logit."""
    special = [token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special]
    return [token for token in special if token < decoder.vocabulary]


@torch.no_grad()
def continue_prompts(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    lengths: Sequence[int],
    pick: Pick,
    stop: Collection[int] = (),
    versions: Sequence[Matrices] | None = None,
    ended: Ended | None = None,
) -> list[list[int]]:
    """Continue each prompt (token ids, at least one) by up to `lengths[n]` tokens, chosen by `pick`.

    Returns the new tokens only. A sequence ends after a token of `stop`, and where `ended` says so. All sequences run
    together: callers bound their number. `versions` has the version that each is on; without it all are on what the
    thread's frame shows. What many prompts begin with runs once for each version.
    """
    continuations: list[list[int]] = [[] for _ in prompts]
    device, n_layers = decoder.device, len(decoder.layers)
    distinct = 1 if versions is None else len({id(version) for version in versions})
    shared = shared_beginning(prompts, distinct) or SharedBeginning(0, frozenset())
    rests = [prompt[shared.length :] if n in shared.rows else prompt for n, prompt in enumerate(prompts)]
    width = max(map(len, rests))
    present = torch.zeros(len(prompts), shared.length + width, dtype=torch.bool, device=device)
    tokens = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
    for number, rest in enumerate(rests):
        present[number, : shared.length] = number in shared.rows
        present[number, present.shape[1] - len(rest) :] = True
        tokens[number, width - len(rest) :] = torch.tensor(list(rest), device=device)
    positions = (present.cumsum(1) - 1).clamp_(min=0)[:, -width:]
    masked = decoder.has_windows or not bool(present.all())
    mask: Tensor | None = _mask(present, width, decoder.dtype)
    active = torch.arange(len(prompts), device=device)
    cache = GrowingCache(present.shape[1] + max(lengths))
    if shared.length:
        _run_beginning(decoder, prompts[min(shared.rows)][: shared.length], len(prompts), versions, cache)
    shown = _shown(versions, range(len(prompts)))
    while True:
        with shown():
            hidden = decoder.run_layers(decoder.embed(tokens, positions), positions, mask, 0, n_layers, cache)
        cache.advance(tokens.shape[1])
        logits = decoder.logits(hidden[:, -1])
        chosen = pick(logits.to(torch.promote_types(logits.dtype, torch.float32)), active)
        continuing = []
        for slot, (number, token) in enumerate(zip(active.tolist(), chosen.tolist(), strict=True)):
            continuations[number].append(token)
            if token in stop or len(continuations[number]) == lengths[number]:
                continue
            if ended is None or not ended(number, continuations[number]):
                continuing.append(slot)
        if not continuing:
            return continuations
        if len(continuing) < active.shape[0]:
            remaining = torch.tensor(continuing, device=device)
            active, chosen, positions, present = (
                active[remaining],
                chosen[remaining],
                positions[remaining],
                present[remaining],
            )
            cache.select(remaining)
            shown = _shown(versions, active.tolist())
        tokens, positions = chosen[:, None], positions[:, -1:] + 1
        present = torch.cat([present, present.new_ones(len(continuing), 1)], 1)
        # Without padding or windows a new token sees everything before it: no mask, for attention's faster path.
        mask = _mask(present, 1, decoder.dtype) if masked else None


def _run_beginning(
    decoder: Decoder, tokens: Sequence[int], sequences: int, versions: Sequence[Matrices] | None, cache: GrowingCache
) -> None:
    """Put the keys and values of `tokens` before each of `sequences`, run once for each version that there is."""
    first_of: dict[int, int] = {}
    for number, version in enumerate([None] * sequences if versions is None else versions):
        first_of.setdefault(id(version), number)
    places = {of: place for place, of in enumerate(first_of)}
    rows = torch.tensor(list(tokens), device=decoder.device).expand(len(places), -1)
    positions = torch.arange(rows.shape[1], device=decoder.device).expand_as(rows)
    mask = _mask(torch.ones_like(rows, dtype=torch.bool), rows.shape[1], decoder.dtype)
    with _shown(versions, list(first_of.values()))():
        decoder.run_layers(decoder.embed(rows, positions), positions, mask, 0, len(decoder.layers), cache)
    cache.advance(rows.shape[1])
    of_sequences = [0] * sequences if versions is None else [places[id(version)] for version in versions]
    cache.select(torch.tensor(of_sequences, device=decoder.device))


def _shown(versions: Sequence[Matrices] | None, sequences: Sequence[int]) -> Callable[[], AbstractContextManager[None]]:
    """Makes a context in which `sequences` see their versions."""
    if versions is None:
        return nullcontext
    return functools.partial(frame, frame_of([versions[number] for number in sequences]))


def _mask(present: Tensor, new: int, dtype: torch.dtype) -> Tensor:
    """The additive mask (sequences, 1, new, T) of the last `new` of T slots; `present` (sequences, T) says which hold a
    token.

    A slot sees the present ones up to itself, and itself in any case: an empty row of a softmax would be NaN.
    """
    slots = torch.arange(present.shape[1], device=present.device)
    queries = slots[-new:]
    visible = (slots[None, :] <= queries[:, None]) & present[:, None, :] | (slots[None, :] == queries[:, None])
    mask = torch.zeros(visible.shape, dtype=dtype, device=present.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]
