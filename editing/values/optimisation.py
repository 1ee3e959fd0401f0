"""Values: for each group of facts the change δ of the projection's output that makes the model say the targets.

All groups are optimised together. What is constant is computed once: layers 0 to l (`editing.values.lower_run`), the
keys and values of every token before a subject's last one (`editing.model.prefix`), and the context texts' for all
facts at once. Each step then runs only layers l+1 and up over the tokens from the subject's last one on
(`editing.values.upper_run`), with gradients for δ alone; on a processor several blocks side by side
(`editing.parallel`). The shared model is neither written to nor hooked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.model.prefix import Prefix
from editing.model.projection import Matrices
from editing.parallel import Parallel, threads_for
from editing.progress import Progress, ShouldStop, check, never, silent
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.finite import require_finite
from editing.values.keys import mean_keys, mean_states
from editing.values.loss import Loss, value_loss
from editing.values.lower_run import Lower, context_prefix, run_lower
from editing.values.memory import MemoryBudget, memory_budget, portions
from editing.values.packed_layers import PackedLayers
from editing.values.rows import Row, rows_of
from editing.values.upper_run import Block, blocks_of, steps_from

BETAS, EPSILON = (0.9, 0.999), 1e-8
REBUILDING = {"cpu": 1.0}
ACCELERATOR_REBUILDING = 0.85
"""Blocks are made anew, without the groups that are done, once these leave at most this share of the tokens: on an
accelerator many small copies cost more than a few tokens too many."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Values:
    """What the solve needs, for G groups, in the groups' order; float32, or float64 for a float64 model.

    `deltas` (G, d_out) is R's transpose, `keys` (G, d_in) K's transpose, at `layer`. `states` (G, d_out) is z₀, the
    stream after `layer` at the subject's last token (of the bare prompt; `editing.values.rows`): the wanted state is
    z₀ + δ. `losses` (G,) and `reached` (G,), bool (every target token is the argmax in all contexts) hold for `deltas`;
    `steps` (G,), int64, counts the optimiser's steps.
    """

    layer: int
    deltas: Tensor
    keys: Tensor
    states: Tensor
    losses: Tensor
    steps: Tensor
    reached: Tensor


def optimise_values(
    decoder: Decoder,
    matrices: Matrices,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    settings: EditSettings,
    *,
    should_stop: ShouldStop = never,
    on_progress: Progress = silent,
    budget: MemoryBudget | None = None,
) -> Values:
    """Find δ for every group on top of the version `matrices`, at the last of `settings.layers`.

    Minimises mean NLL(target) + kl_factor · KL + weight_decay · ‖δ‖/‖z₀‖² (ROME, arXiv 2202.05262, section 3.1; MEMIT,
    arXiv 2210.07229, section 4.3) with Adam, ‖δ‖ ≤ clamp · ‖z₀‖ after each step. After the last step the loss is read
    once more, so that it is that of the δ returned. A group is done when its loss is under `stop_loss`, or when its
    targets are the argmax in all contexts, `stop_after_argmax` steps after they first were.

    `on_progress` hears of stage "values" in optimiser steps of a group; a group that is done early counts as whole.
    `should_stop` is asked between blocks of rows; EditInterrupted when it says so. As many groups are optimised
    together as the memory `budget` holds, by default the device's. Where that was too much for an accelerator, those
    that it ran out of memory with are tried again in smaller portions; torch.OutOfMemoryError where none is left.
    ValuesNotFiniteError names the facts whose loss is not finite, as may happen in float16.
    """
    if not groups:
        raise ValueError("there is no group of facts to optimise a value for")

    def cut(numbers: Sequence[int], room: MemoryBudget) -> list[tuple[list[int], MemoryBudget]]:
        some = [groups[number] for number in numbers]
        first_layer = steps_from(decoder, max(settings.layers))
        parts = portions(decoder, some, len(contexts), settings.kl_factor, first_layer, room.constants)
        return [([numbers[place] for place in part], room) for part in parts]

    def report(stage: str, done: int, total: int) -> None:
        on_progress(stage, len(order) * settings.steps + done, len(groups) * settings.steps)

    def attempt(some: Sequence[SubjectGroup], room: MemoryBudget) -> Values | None:
        try:
            return ValueOptimisation(decoder, matrices, some, contexts, settings, should_stop, room.backward).run(
                report
            )
        except torch.OutOfMemoryError:
            if room.halved() is None:
                raise
            return None

    order: list[int] = []
    found: list[Values] = []
    waiting = cut(range(len(groups)), budget or memory_budget(decoder.device))
    while waiting:
        numbers, room = waiting.pop(0)
        values = attempt([groups[number] for number in numbers], room)
        if values is not None:
            order += numbers
            found.append(values)
        elif smaller := room.halved():
            log.warning("out of memory with %d subjects at a time; trying again with less", len(numbers))
            torch.cuda.empty_cache()
            waiting[:0] = cut(numbers, smaller)
    values = _joined(found, order)
    require_finite(groups, decoder.dtype, values.losses, values.deltas, values.keys, values.states)
    return values


def _joined(found: Sequence[Values], order: Sequence[int]) -> Values:
    """`found`, which hold the groups that `order` names, one after another, in the groups' order."""
    back = torch.tensor(order).argsort().to(found[0].deltas.device)
    of_all = {
        field.name: torch.cat([getattr(values, field.name) for values in found])[back]
        for field in fields(Values)
        if field.name != "layer"
    }
    return Values(layer=found[0].layer, **of_all)


class ValueOptimisation:
    """The state of one run of `optimise_values`: what is constant, and what the optimiser holds for each group."""

    def __init__(
        self,
        decoder: Decoder,
        matrices: Matrices,
        groups: Sequence[SubjectGroup],
        contexts: Sequence[Context],
        settings: EditSettings,
        should_stop: ShouldStop = never,
        backward_bytes: float | None = None,
    ) -> None:
        self.decoder, self.matrices, self.settings = decoder, matrices, settings
        self.should_stop = should_stop
        self.backward_bytes = memory_budget(decoder.device).backward if backward_bytes is None else backward_bytes
        self.layer = max(settings.layers)
        self.first_layer = steps_from(decoder, self.layer)
        self.rows: list[Row] = rows_of(groups, len(contexts), settings.kl_factor)
        self.contexts: Prefix | None = context_prefix(decoder, matrices, contexts, len(decoder.layers))
        self.lower: list[Lower] = run_lower(
            decoder,
            matrices,
            self.contexts,
            self.rows,
            self.layer,
            frozenset({self.layer}),
            self.first_layer,
            should_stop,
        )
        self.parallel = Parallel(threads_for(sum(row.suffix_length for row in self.rows), decoder.device))
        self.of_thread = threading.local()
        number = len(groups)
        self.keys = mean_keys(self.rows, self.lower, self.layer, number)
        self.states = mean_states(self.rows, self.lower, number)
        self.norms = torch.linalg.vector_norm(self.states, dim=1)
        self.deltas = torch.zeros_like(self.states)
        self.losses = self.states.new_full((number,), torch.inf)
        self.reached = torch.zeros(number, dtype=torch.bool, device=decoder.device)
        self.first_reached = torch.full((number,), -1, device=decoder.device)
        self.steps = torch.zeros(number, dtype=torch.long, device=decoder.device)
        self.active = torch.ones(number, dtype=torch.bool, device=decoder.device)
        of_row = torch.tensor([(row.group, row.suffix_length) for row in self.rows], device=decoder.device)
        self.tokens = torch.zeros_like(self.steps).index_add(0, *of_row.unbind(1))
        self.worth_rebuilding = REBUILDING.get(decoder.device.type, ACCELERATOR_REBUILDING)
        vocabulary = decoder.vocabulary if settings.kl_factor > 0 else 0
        self.reference = self.states.new_zeros(number, vocabulary)
        self.known = torch.zeros_like(self.reached)
        self.moments = (torch.zeros_like(self.states), torch.zeros_like(self.states))

    def run(self, on_progress: Progress = silent) -> Values:
        with self.parallel:
            return self._run(on_progress)

    def _run(self, on_progress: Progress) -> Values:
        steps = self.settings.steps
        blocks, in_blocks = self.blocks(), self.active
        for step in range(steps + 1):
            gradient = self.evaluate(blocks, with_gradient=step < steps)
            done = self.done(step)
            left = self.active & ~done
            to_come = int(left.sum()) * (steps - step)
            on_progress("values", left.numel() * steps - to_come, left.numel() * steps)
            if step == steps or not bool(left.any()):
                break
            if bool((self.active & done).any()):
                self.active = left
                if int(self.tokens[left].sum()) <= self.worth_rebuilding * int(self.tokens[in_blocks].sum()):
                    blocks, in_blocks = self.blocks(), left
            self.update(gradient, step + 1)
        return Values(self.layer, self.deltas, self.keys, self.states, self.losses, self.steps, self.reached)

    def blocks(self) -> list[Block]:
        """Blocks of the rows of groups that are not done; as many for each thread, where there are enough of them."""
        active = self.active.tolist()
        numbers = [number for number, row in enumerate(self.rows) if active[row.group]]
        rows, lower = [self.rows[n] for n in numbers], [self.lower[n] for n in numbers]
        threads = min(self.parallel.number, threads_for(sum(row.suffix_length for row in rows), self.decoder.device))
        limit = self.backward_bytes
        return list(blocks_of(self.decoder, self.contexts, rows, lower, self.layer, self.row_bytes, limit, threads))

    def row_bytes(self, row: Row) -> float:
        """About what `row` keeps for the backward pass."""
        decoder, width = self.decoder, row.suffix_length
        projection = decoder.projections[self.layer]
        slots = row.subject + width + (0 if self.contexts is None else self.contexts.present.shape[1])
        token = 10 * projection.d_out + 3 * projection.d_in + 3 * decoder.attention_heads * slots
        logits = 3 * row.reads * decoder.vocabulary * self.deltas.element_size()
        return (len(decoder.layers) - self.first_layer) * width * token * decoder.dtype.itemsize + logits

    def evaluate(self, blocks: Sequence[Block], with_gradient: bool) -> Tensor:
        """Loss and argmax of the active groups at the present δ, and the loss's gradient (G, d_out)."""
        settings = self.settings
        loss = torch.zeros_like(self.losses)
        said = torch.ones_like(self.reached)
        gradient = torch.zeros_like(self.deltas)
        check(self.should_stop, "the optimisation of values")
        for part, of_part in self.parallel.map(lambda block: self.pass_over(block, with_gradient), blocks):
            check(self.should_stop, "the optimisation of values")
            loss += part.loss.detach()
            said &= part.said
            if of_part is not None:
                gradient += of_part
        length = torch.linalg.vector_norm(self.deltas, dim=1)
        decay = settings.weight_decay / self.norms**2
        gradient += (decay / length.clamp(min=torch.finfo(length.dtype).tiny))[:, None] * self.deltas
        self.losses = torch.where(self.active, loss + decay * length, self.losses)
        self.reached = torch.where(self.active, said, self.reached)
        return gradient

    def pass_over(self, block: Block, with_gradient: bool) -> tuple[Loss, Tensor | None]:
        """One block's part of the loss, and of its gradient (G, d_out). Blocks may run at once: no two share a group's
        essence row, so each fills in other rows of `reference`."""
        settings = self.settings
        deltas = self.deltas.clone().requires_grad_(with_gradient)
        with torch.set_grad_enabled(with_gradient):
            logits = block.logits(self.packed(), self.matrices, deltas)
            part = value_loss(
                block.reads, logits, self.reference, self.known, settings.kl_factor, settings.kl_direction
            )
        return part, torch.autograd.grad(part.loss.sum(), deltas)[0] if with_gradient else None

    def packed(self) -> PackedLayers:
        """The layers of each step, for the calling thread."""
        if not hasattr(self.of_thread, "packed"):
            self.of_thread.packed = PackedLayers(self.decoder, self.first_layer)
        layers: PackedLayers = self.of_thread.packed
        return layers

    def done(self, step: int) -> Tensor:
        settings = self.settings
        newly = self.active & self.reached & (self.first_reached < 0)
        self.first_reached = torch.where(newly, step, self.first_reached)
        done = (self.losses < settings.stop_loss) | ~self.losses.isfinite()
        if settings.stop_after_argmax >= 0:
            done |= self.reached & (step - self.first_reached >= settings.stop_after_argmax)
        return done

    def update(self, gradient: Tensor, step: int) -> None:
        """Adam's step for the active groups, then the clamp."""
        first, second = self.moments
        first.lerp_(gradient, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        scale = (second / (1 - BETAS[1] ** step)).sqrt_().add_(EPSILON)
        moved = self.deltas - self.settings.lr / (1 - BETAS[0] ** step) * first / scale
        length = torch.linalg.vector_norm(moved, dim=1)
        most = self.settings.clamp * self.norms
        moved *= torch.where(length > most, most / length, 1.0)[:, None]
        self.deltas = torch.where(self.active[:, None], moved, self.deltas)
        self.steps += self.active
