"""Consolidates a lineage: all facts in force, solved jointly from the base, from values that were found long ago.

A batch of a line writes over what earlier ones wrote without knowing of it. What each fact needs is known, though: the
state z of the stream after the last edited layer, at the subject's last token, that its value was optimised for. Layers
above that one are the base's, so that z says the target there, too. What the batches made of it as differences is stale
where the stream below has moved: R is measured anew, as z − h at the base, and solved with all other facts
(`editing.solve.batch`), which then finds and repairs those that the joint solve blurred.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.keys import subject_states
from editing.values.value_set import Values

LEAST_REPAIR_ROUNDS = 2
"""Kept states were found on many versions, and a joint solve of many facts blurs more of them than a batch's does."""


def repairing(settings: EditSettings) -> EditSettings:
    """`settings` of a consolidation: those of an edit, with at least `LEAST_REPAIR_ROUNDS`."""
    return settings.model_copy(update={"repair_rounds": max(settings.repair_rounds, LEAST_REPAIR_ROUNDS)})


def holds_at_base(decoder: Decoder, edited_layers: Collection[int], last_layer: int) -> bool:
    """Whether a state that was optimised for after `last_layer`, on a version with `edited_layers`, holds at the base.

    It says the target as long as the layers above are the same. Where a norm stands between the MLP and the stream, no
    state of the stream is an output of W.
    """
    return not decoder.architecture.norm_after_mlp and max(edited_layers, default=-1) <= last_layer


def is_read_bare(group: SubjectGroup, contexts: int) -> bool:
    """Whether the group's state is that of its bare prompts: another lineage's context texts are others."""
    return not contexts or not any(fact.begins_text for fact in group.facts)


def kept_values(
    decoder: Decoder,
    matrices: Matrices,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    wanted: Tensor,
    layer: int,
) -> Values:
    """Values at `layer` on the version `matrices` for states z that are known, `wanted` (G, d_out): δ = z − h.

    Keys and h are that version's; no step is taken, and no loss is read.
    """
    now = subject_states(decoder, matrices, groups, contexts, [layer], layer)
    states, keys = now.stream, now.keys[layer]
    deltas = (wanted.to(device=states.device, dtype=torch.float64) - states.double()).to(states.dtype)
    number, device = len(groups), states.device
    return Values(
        layer=layer,
        deltas=deltas,
        keys=keys,
        states=states,
        losses=torch.zeros(number, device=device),
        steps=torch.zeros(number, dtype=torch.int64, device=device),
        reached=torch.ones(number, dtype=torch.bool, device=device),
    )
