"""Sliding windows: layers in which a token sees only so many tokens back.

A window counts tokens, not slots. Here a token often stands slots away from the one before it (padding after a shared
prefix, answers that share a prompt), and the mask already says which slots it sees, in the order of the text. So a
window of w keeps the last w slots that a token sees, itself included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from editing.architectures import Architecture
from editing.errors import UnsupportedModelError

FULL, SLIDING = "full_attention", "sliding_attention"


def windows_of(architecture: Architecture, config: Any, layers: int) -> tuple[int | None, ...]:
    """How many tokens each of `layers` layers sees, the token itself included; None: all that stand before.

    Raises UnsupportedModelError, naming the field of `config`, for attention that is neither, or that looks ahead, and
    for a list of layer types in a family whose model does not read it.
    """
    if ahead := getattr(config, "use_bidirectional_attention", None):
        raise _refused(architecture, "use_bidirectional_attention", ahead, "its tokens see those after them")
    if architecture.windows == "none":
        return (None,) * layers
    window = getattr(config, "sliding_window", None)
    if window is not None and window < 1:
        raise _refused(architecture, "sliding_window", window, "a window sees at least its own token")
    types: Sequence[str] | None = getattr(config, "layer_types", None)
    if architecture.windows == "every layer":
        expected = FULL if window is None else SLIDING
        if types is not None and set(types) != {expected}:
            raise _refused(
                architecture, "layer_types", types, "transformers gives all layers of this family the same attention"
            )
        return (window,) * layers
    windows: list[int | None] = []
    for kind in (types or [FULL] * layers)[:layers]:
        if kind not in (FULL, SLIDING) or (kind == SLIDING and window is None):
            raise _refused(
                architecture, "layer_types", types, f"{kind!r} with sliding_window={window} is not known here"
            )
        windows.append(window if kind == SLIDING else None)
    return tuple(windows)


def mask_of_each(mask: Tensor, windows: Sequence[int | None]) -> list[Tensor]:
    """`mask` (..., T, slots), additive, as each layer of `windows` sees it: one tensor for all layers of one window."""
    by_window = {window: narrowed(mask, window) for window in set(windows)}
    return [by_window[window] for window in windows]


def narrowed(mask: Tensor, window: int | None) -> Tensor:
    """`mask` (..., T, slots), additive, in which each token sees only the last `window` slots of those that it saw.

    Every token must see itself last. What a window that is longer than the mask would give is `mask` itself.
    """
    if window is None or mask.shape[-1] <= window:
        return mask
    hidden = torch.finfo(mask.dtype).min
    from_here = (mask > hidden).int().flip(-1).cumsum(-1, dtype=torch.int32).flip(-1)
    return mask.masked_fill(from_here > window, hidden)


def _refused(architecture: Architecture, field: str, value: object, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{architecture.model_type} model with {field}={value!r} cannot be edited: {why}")
