"""Adds a version's lineage up in float64, and keeps the sums of the newest versions, so that a child adds one delta."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
import torch
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.projection import EditableProjection
from store.errors import BlobCorruptError
from store.lineage import versions as lineage
from store.lineage.versions import EXACT_LAYERS, Step
from workers.weights.delta_reader import DeltaReader
from workers.weights.deltas import LayerDelta
from workers.weights.exact_product import exact_product
from workers.weights.matrix_bits import matrix_hash

MOST_HELD: Final = 2
"""Lines that a worker edits by turns without adding up more than what came since."""

Product = Callable[[Tensor, Tensor], Tensor]

log = structlog.get_logger(__name__)


def rounded_product(B: Tensor, A: Tensor) -> Tensor:
    """B A as whatever multiplies here rounds it: how versions were made before products were exact."""
    return B.double() @ A.double()


def change(delta: LayerDelta, device: torch.device, product: Product = exact_product) -> Tensor:
    """Δ (d_out, d_in) of one layer on `device`, float64."""
    if delta.dense is not None:
        return delta.dense.to(device).double()
    assert delta.a is not None
    assert delta.b is not None
    return product(delta.b.to(device), delta.a.to(device))


def base_sum(projection: EditableProjection) -> Tensor:
    """The base's weight (d_out, d_in), float64, for adding to."""
    weight = projection.weight.detach()
    return weight.double().T.clone() if projection.transposed else weight.double().clone()


def cast(projection: EditableProjection, total: Tensor) -> Tensor:
    """The matrix of a sum (d_out, d_in), in the module's dtype and layout."""
    weight = projection.weight
    return (total.T if projection.transposed else total).to(weight.dtype).contiguous()


class RunningSums:
    """The sums of versions by layer, (d_out, d_in) in float64. Safe between threads."""

    def __init__(self, decoder: Decoder, reader: DeltaReader, budget_bytes: int) -> None:
        self.decoder = decoder
        self.reader = reader
        self.budget_bytes = budget_bytes
        self._held: OrderedDict[int, dict[int, Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, number: int) -> dict[int, Tensor]:
        """The sums of every edited layer, never to be written to: from the nearest ancestor that is held, or the base.

        Deltas are read one at a time and without what does not count; a sum that does not meet the hash of version
        `number` is made again from whole blobs, compared with their names. Raises BlobError.
        """
        if number == 0:
            return {}
        with self._lock:
            held = dict(self._held)
            if number in held:
                self._held.move_to_end(number)
                return held[number]
        steps = self.reader.above(number, held)
        start = held.get(steps[0].parent, {})
        try:
            totals, own = self._added(start, steps, self.reader.read_change)
            differing = self._differing(number, totals, own)
        except BlobCorruptError as error:
            log.warning("a delta is damaged; reading the lineage whole", version=number, error=str(error))
            differing = [0]
        if differing:
            start, steps = {}, self.reader.above(number)
            totals, own = self._added(start, steps, self.reader.read)
            self._refuse_exact(number, self._differing(number, totals, own))
        self._hold(number, totals)
        return totals

    def rounded(self, number: int, layers: Sequence[int]) -> dict[int, Tensor]:
        """The sums of `layers` as versions were added up before products were exact. Nothing of it is kept."""
        totals, _ = self._added({}, self.reader.above(number), self.reader.read, rounded_product)
        return {layer: totals[layer] for layer in layers if layer in totals}

    def held_bytes(self) -> int:
        with self._lock:
            tensors = {id(total): total.nbytes for totals in self._held.values() for total in totals.values()}
        return sum(tensors.values())

    def _added(
        self,
        start: Mapping[int, Tensor],
        steps: Sequence[Step],
        read: Callable[[Step], Mapping[int, LayerDelta]],
        product: Product = exact_product,
    ) -> tuple[dict[int, Tensor], set[int]]:
        """`start` and `steps` added up, and the layers that `steps` touch; those of the others are shared."""
        totals = dict(start)
        own: set[int] = set()
        for step in steps:
            for layer, delta in read(step).items():
                if layer not in own:
                    own.add(layer)
                    totals[layer] = (
                        totals[layer].clone() if layer in totals else base_sum(self.decoder.projections[layer])
                    )
                totals[layer] += change(delta, totals[layer].device, product)
        return totals, own

    def _differing(self, number: int, totals: Mapping[int, Tensor], layers: set[int]) -> list[int]:
        """Of `layers` those whose sum does not give the matrix that was published."""
        with self.reader.database.reading() as session:
            hashes = lineage.get(session, self.reader.model, number).matrix_hashes
        projections = self.decoder.projections
        return [
            layer
            for layer in sorted(layers)
            if matrix_hash(cast(projections[layer], totals[layer])) != hashes.get(str(layer))
        ]

    def _refuse_exact(self, number: int, differing: Sequence[int]) -> None:
        """Of layers that were published with rounded products the last bits may differ; of others nothing may."""
        if not differing:
            return
        with self.reader.database.reading() as session:
            exact = lineage.get(session, self.reader.model, number).provenance.get(EXACT_LAYERS, ())
        wrong = [layer for layer in differing if layer in exact]
        if wrong:
            raise BlobCorruptError(
                f"version v{number} of {self.reader.model}: the deltas of its lineage do not add up to layer "
                f"{wrong[0]} as it was published; restore the blobs and rows of its lineage from a backup"
            )

    def _hold(self, number: int, totals: dict[int, Tensor]) -> None:
        if sum(total.nbytes for total in totals.values()) > self.budget_bytes:
            return
        with self._lock:
            self._held[number] = totals
            self._held.move_to_end(number)
        while len(self._held) > MOST_HELD or (len(self._held) > 1 and self.held_bytes() > self.budget_bytes):
            with self._lock:
                self._held.popitem(last=False)
