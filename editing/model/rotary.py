"""Rotary positions: up to which length a token's angles depend on its own position alone.

Some kinds of scaling change every angle once a text is longer than some length. Texts of many lengths are computed
together here, and keys of earlier tokens are kept, so a model is only read up to that length: there it is what
transformers computes, and beyond it one text would change the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from editing.architectures import Architecture
from editing.errors import UnsupportedModelError

FIXED = ("default", "linear", "yarn", "llama3")
"""Angles that no length changes. Those of "dynamic" change beyond `max_position_embeddings`, those of "longrope" beyond
`original_max_position_embeddings`."""


def context_length_of(architecture: Architecture, config: Any) -> int:
    """The longest text, in tokens, that a model of `config` is read with.

    Raises UnsupportedModelError, naming the field, for a kind of scaling that is not known here.
    """
    longest = int(config.max_position_embeddings)
    parameters = getattr(config, "rope_parameters", None) or {}
    for rope in [part for part in parameters.values() if isinstance(part, Mapping)] or [parameters]:
        kind = rope.get("rope_type", "default")
        if kind == "longrope":
            longest = min(longest, int(rope["original_max_position_embeddings"]))
        elif kind != "dynamic" and kind not in FIXED:
            known = ", ".join((*FIXED, "dynamic", "longrope"))
            raise UnsupportedModelError(
                f"{architecture.model_type} model with rope_parameters of rope_type={kind!r} cannot be edited; "
                f"known: {known}"
            )
    return longest
