"""Checks that values are finite, and names the facts whose values are not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editing.errors import ValuesNotFiniteError
from editing.values.facts import SubjectGroup

_NAMED = 5


def require_finite(groups: Sequence[SubjectGroup], dtype: torch.dtype, *parts: Tensor) -> None:
    """Raise ValuesNotFiniteError where one of `parts`, (G,) or (G, width), is not finite for a group.

    One such value in a joint solve would make all of the batch's weights no numbers.
    """
    finite = torch.stack([part.reshape(len(groups), -1).isfinite().all(1) for part in parts]).all(0)
    broken = [group for group, whole in zip(groups, finite.tolist(), strict=True) if not whole]
    if not broken:
        return
    subjects = ", ".join(repr(group.subject) for group in broken[:_NAMED])
    more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    name = str(dtype).removeprefix("torch.")
    remedy = "load the model in float32 or bfloat16, or " if dtype == torch.float16 else ""
    raise ValuesNotFiniteError(
        f"the loss or value of {len(broken)} subjects ({subjects}{more}) is not finite in {name}: {remedy}set a "
        "smaller lr or clamp, or leave those facts out",
        [fact.index for group in broken for fact in group.facts],
    )
