"""What a memory plan is made for: a model's shapes, how it is edited, and the budgets of what serves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from editing.methods import Algorithm, EditSettings
from editing.methods.method import INVERSE_SECOND_MOMENT
from editing.model.decoder import Decoder
from editing.model.weightless import tensor_bytes
from editing.readings.continuations import cache_bytes_per_token
from workers.memory_plan.parts import HOST, place_of

PLANNED_FACTS = 64
"""Facts that one batch is planned to have, each about a subject of its own."""


@dataclass(frozen=True)
class PlanRequest:
    """Sizes in bytes. `decoder` may be one without weights (`editing.model.weightless`).

    `kv_cache_bytes` and `matrix_cache_bytes` None are shares of what is free beside model and C0. `stored_bytes` are
    those of the weights' files, 0 where they are mapped as they are; `statistics_ready` says that C0 and held-out text
    lie in the data folder; `available` has for each place what this process may still take. `chat_forms` are the forms
    of the model's chat template. With `runtime_bytes`, libraries and what else a process has taken by then are counted
    as a part; what is available is beside that.
    """

    decoder: Decoder
    device: torch.device
    algorithm: Algorithm
    settings: EditSettings
    available: Mapping[str, int]
    kv_cache_bytes: int | None = None
    matrix_cache_bytes: int | None = None
    held_out_cache_bytes: int = 0
    batch_versions: int = 1
    facts: int = PLANNED_FACTS
    chat_forms: int = 0
    stored_bytes: int = 0
    statistics_ready: bool = False
    runtime_bytes: int = 0

    @property
    def place(self) -> str:
        return place_of(self.device)

    @property
    def places(self) -> tuple[str, ...]:
        return (HOST,) if self.place == HOST else (self.place, HOST)

    @property
    def model_bytes(self) -> int:
        return tensor_bytes(self.decoder.model)

    @property
    def layers(self) -> int:
        """How many are edited."""
        return len(self.settings.layers)

    @property
    def d_in(self) -> int:
        return self.decoder.projections[max(self.settings.layers)].d_in

    @property
    def d_out(self) -> int:
        return self.decoder.projections[max(self.settings.layers)].d_out

    @property
    def itemsize(self) -> int:
        """Bytes of a number that the model computes in."""
        return self.decoder.dtype.itemsize

    @property
    def slot_bytes(self) -> int:
        """The keys and values of one token of one sequence, in all layers."""
        return cache_bytes_per_token(self.decoder)

    @property
    def version_bytes(self) -> int:
        """A version's edited matrices."""
        return self.layers * self.d_in * self.d_out * self.itemsize

    @property
    def reads_second_moment(self) -> bool:
        """Whether the method's metric needs C itself; for C⁻¹ its factor is enough."""
        return self.algorithm.metric != INVERSE_SECOND_MOMENT or bool(self.settings.ridge)

    @property
    def free_beside_model(self) -> int:
        """Of the device, what is left when model and C0 are there: the worker shares it out then."""
        return max(0, self.available[self.place] - self.model_bytes - 2 * self.layers * square_bytes(self.d_in))

    def activation_bytes(self, tokens: int) -> int:
        """What a layer's forward pass over `tokens` tokens holds at once: the stream, queries, keys and values, and the
        MLP's inner states."""
        return tokens * (6 * self.d_out + 3 * self.d_in) * self.itemsize


def square_bytes(d_in: int) -> int:
    """A (d_in, d_in) matrix in float64: C, its factor, or a sum of C0."""
    return 8 * d_in**2
