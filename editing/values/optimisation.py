"""Optimises values: for each group of facts the change δ of the projection's output that makes the model say the
targets.

All groups are optimised together. What is constant is computed once: layers 0 to l (`editing.values.lower_run`), the
keys and values of every token before a subject's last one (`editing.model.prefix`), and the context texts' for all
facts at once. Each step then runs only layers l+1 and up over the tokens from the subject's last one on
(`editing.values.upper_run`), with gradients for δ alone; on a processor several packed batches side by side
(`editing.parallel`). The shared model is neither written to nor hooked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.model.prefix import Prefix
from editing.model.projection import Matrices
from editing.parallel import Parallel, threads_for
from editing.progress import ProgressCallback, ShouldStop, check, never, silent
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.finite import require_finite
from editing.values.keys import mean_keys, mean_states
from editing.values.loss import Loss, value_loss
from editing.values.lower_run import LowerStates, context_prefix, run_lower
from editing.values.memory import MemoryBudget, backward_bytes, memory_budget, portions
from editing.values.packed_layers import PackedLayers
from editing.values.sequences import ValueSequence, sequences_of
from editing.values.upper_run import PackedBatch, packed_batches_of, steps_from
from editing.values.value_set import Values, in_group_order

BETAS, EPSILON = (0.9, 0.999), 1e-8
REPACKING = {"cpu": 1.0}
ACCELERATOR_REPACKING = 0.85
"""Packed batches are made anew, without the groups that are done, once these leave at most this share of the tokens: on
an accelerator many small copies cost more than a few tokens too many."""

log = logging.getLogger(__name__)


def optimise_values(
    decoder: Decoder,
    matrices: Matrices,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    settings: EditSettings,
    *,
    should_stop: ShouldStop = never,
    on_progress: ProgressCallback = silent,
    budget: MemoryBudget | None = None,
    prefix: Prefix | None = None,
) -> Values:
    """Find δ for every group on top of the version `matrices`, at the last of `settings.layers`.

    Minimises mean NLL(target) + kl_factor · KL + weight_decay · ‖δ‖/‖z₀‖² (ROME, arXiv 2202.05262, section 3.1; MEMIT,
    arXiv 2210.07229, section 4.3) with Adam, ‖δ‖ ≤ clamp · ‖z₀‖ after each step. After the last step the loss is read
    once more, so that it is that of the δ returned. A group is done when its loss is under `stop_loss`, or when its
    targets are the argmax in all contexts, `stop_after_argmax` steps after they first were.

    `on_progress` hears of stage "values" in optimiser steps of a group; a group that is done early counts as whole.
    `should_stop` is asked between packed batches; EditInterrupted when it says so. As many groups are optimised
    together as the memory `budget` holds, by default the device's. `prefix` is that of the contexts in all layers
    (`editing.values.lower_run.context_prefix`), where it is known. Where that was too much for an accelerator, those
    that it ran out of memory with are tried again in smaller portions; torch.OutOfMemoryError where none is left.
    ValuesNotFiniteError names the facts whose loss is not finite, as may happen in float16.
    """
    if not groups:
        raise ValueError("there is no group of facts to optimise a value for")

    def portions_within(numbers: Sequence[int], room: MemoryBudget) -> list[tuple[list[int], MemoryBudget]]:
        subset = [groups[number] for number in numbers]
        first_layer = steps_from(decoder, max(settings.layers))
        parts = portions(decoder, subset, contexts, settings.kl_factor, first_layer, room.constants)
        return [([numbers[place] for place in part], room) for part in parts]

    def report(stage: str, done: int, total: int) -> None:
        on_progress(stage, len(order) * settings.steps + done, len(groups) * settings.steps)

    def attempt(subset: Sequence[SubjectGroup], room: MemoryBudget) -> Values | None:
        try:
            return ValueOptimisation(
                decoder, matrices, subset, contexts, settings, should_stop, room.backward, prefix
            ).run(report)
        except torch.OutOfMemoryError:
            if room.halved() is None:
                raise
            return None

    order: list[int] = []
    portions_done: list[Values] = []
    pending = portions_within(range(len(groups)), budget or memory_budget(decoder.device))
    while pending:
        numbers, room = pending.pop(0)
        values = attempt([groups[number] for number in numbers], room)
        if values is not None:
            order += numbers
            portions_done.append(values)
        elif smaller := room.halved():
            log.warning("out of memory with %d subjects at a time; trying again with less", len(numbers))
            torch.cuda.empty_cache()
            pending[:0] = portions_within(numbers, smaller)
    values = in_group_order(portions_done, order)
    require_finite(groups, decoder.dtype, values.losses, values.deltas, values.keys, values.states)
    return values


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
        prefix: Prefix | None = None,
    ) -> None:
        self.decoder, self.matrices, self.settings = decoder, matrices, settings
        self.should_stop = should_stop
        self.backward_bytes = memory_budget(decoder.device).backward if backward_bytes is None else backward_bytes
        self.layer = max(settings.layers)
        self.first_layer = steps_from(decoder, self.layer)
        self.sequences: list[ValueSequence] = sequences_of(groups, contexts, settings.kl_factor)
        self.contexts: Prefix | None = prefix or context_prefix(decoder, matrices, contexts, len(decoder.layers))
        self.lower: list[LowerStates] = run_lower(
            decoder,
            matrices,
            self.contexts,
            self.sequences,
            self.layer,
            frozenset({self.layer}),
            self.first_layer,
            should_stop,
        )
        self.parallel = Parallel(
            threads_for(sum(sequence.suffix_length for sequence in self.sequences), decoder.device)
        )
        self.thread_local = threading.local()
        number = len(groups)
        self.keys = mean_keys(self.sequences, self.lower, self.layer, number)
        self.states = mean_states(self.sequences, self.lower, number)
        self.norms = torch.linalg.vector_norm(self.states, dim=1)
        self.deltas = torch.zeros_like(self.states)
        self.losses = self.states.new_full((number,), torch.inf)
        self.reached = torch.zeros(number, dtype=torch.bool, device=decoder.device)
        self.first_reached = torch.full((number,), -1, device=decoder.device)
        self.steps = torch.zeros(number, dtype=torch.long, device=decoder.device)
        self.active = torch.ones(number, dtype=torch.bool, device=decoder.device)
        group_and_length = torch.tensor(
            [(sequence.group, sequence.suffix_length) for sequence in self.sequences], device=decoder.device
        )
        self.tokens = torch.zeros_like(self.steps).index_add(0, *group_and_length.unbind(1))
        self.repacking_share = REPACKING.get(decoder.device.type, ACCELERATOR_REPACKING)
        vocabulary = decoder.vocabulary if settings.kl_factor > 0 else 0
        self.reference = self.states.new_zeros(number, vocabulary)
        self.has_reference = torch.zeros_like(self.reached)
        self.moments = (torch.zeros_like(self.states), torch.zeros_like(self.states))

    def run(self, on_progress: ProgressCallback = silent) -> Values:
        with self.parallel:
            return self._run(on_progress)

    def _run(self, on_progress: ProgressCallback) -> Values:
        steps = self.settings.steps
        packed_batches, packed_groups = self.packed_batches(), self.active
        for step in range(steps + 1):
            gradient = self.evaluate(packed_batches, with_gradient=step < steps)
            done = self.done(step)
            still_active = self.active & ~done
            remaining_steps = int(still_active.sum()) * (steps - step)
            on_progress("values", still_active.numel() * steps - remaining_steps, still_active.numel() * steps)
            if step == steps or not bool(still_active.any()):
                break
            if bool((self.active & done).any()):
                self.active = still_active
                if int(self.tokens[still_active].sum()) <= self.repacking_share * int(self.tokens[packed_groups].sum()):
                    packed_batches, packed_groups = self.packed_batches(), still_active
            self.update(gradient, step + 1)
        return Values(self.layer, self.deltas, self.keys, self.states, self.losses, self.steps, self.reached)

    def packed_batches(self) -> list[PackedBatch]:
        """Packed batches of the sequences of groups that are not done; as many for each thread, where there are enough
        of them."""
        active = self.active.tolist()
        numbers = [number for number, sequence in enumerate(self.sequences) if active[sequence.group]]
        sequences, lower = [self.sequences[n] for n in numbers], [self.lower[n] for n in numbers]
        threads = min(
            self.parallel.number,
            threads_for(sum(sequence.suffix_length for sequence in sequences), self.decoder.device),
        )
        limit = self.backward_bytes
        return list(
            packed_batches_of(
                self.decoder, self.contexts, sequences, lower, self.layer, self.sequence_bytes, limit, threads
            )
        )

    def sequence_bytes(self, sequence: ValueSequence) -> float:
        """About what `sequence` keeps for the backward pass."""
        slots = 0 if self.contexts is None else self.contexts.present.shape[1]
        return backward_bytes(self.decoder, sequence, self.layer, self.first_layer, slots, self.deltas.element_size())

    def evaluate(self, packed_batches: Sequence[PackedBatch], with_gradient: bool) -> Tensor:
        """Loss and argmax of the active groups at the present δ, and the loss's gradient (G, d_out)."""
        settings = self.settings
        loss = torch.zeros_like(self.losses)
        reached = torch.ones_like(self.reached)
        gradient = torch.zeros_like(self.deltas)
        check(self.should_stop, "the optimisation of values")
        for part, part_gradient in self.parallel.map(
            lambda packed_batch: self.loss_and_gradient(packed_batch, with_gradient), packed_batches
        ):
            check(self.should_stop, "the optimisation of values")
            loss += part.loss.detach()
            reached &= part.reached
            if part_gradient is not None:
                gradient += part_gradient
        length = torch.linalg.vector_norm(self.deltas, dim=1)
        decay = settings.weight_decay / self.norms**2
        gradient += (decay / length.clamp(min=torch.finfo(length.dtype).tiny))[:, None] * self.deltas
        self.losses = torch.where(self.active, loss + decay * length, self.losses)
        self.reached = torch.where(self.active, reached, self.reached)
        return gradient

    def loss_and_gradient(self, packed_batch: PackedBatch, with_gradient: bool) -> tuple[Loss, Tensor | None]:
        """One packed batch's part of the loss, and of its gradient (G, d_out). Packed batches may run at once: no two
        share a group's essence sequence, so each fills in other rows of `reference`."""
        settings = self.settings
        deltas = self.deltas.clone().requires_grad_(with_gradient)
        with torch.set_grad_enabled(with_gradient):
            logits = packed_batch.logits(self.packed_layers(), self.matrices, deltas)
            part = value_loss(
                packed_batch.loss_positions,
                logits,
                self.reference,
                self.has_reference,
                settings.kl_factor,
                settings.kl_direction,
            )
        return part, torch.autograd.grad(part.loss.sum(), deltas)[0] if with_gradient else None

    def packed_layers(self) -> PackedLayers:
        """The layers of each step, for the calling thread."""
        if not hasattr(self.thread_local, "packed_layers"):
            self.thread_local.packed_layers = PackedLayers(self.decoder, self.first_layer)
        layers: PackedLayers = self.thread_local.packed_layers
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
        """Adam's step for the active groups, then the clamp.

        With one second moment for a value (as Adam-mini has one a block, arXiv 2406.16793) a step has the length of
        Adam's and the direction of the mean gradient, which for its length takes most from the loss.
        """
        first, second = self.moments
        first.lerp_(gradient, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        moment = second.mean(1, keepdim=True) if self.settings.second_moment == "value" else second
        scale = (moment / (1 - BETAS[1] ** step)).sqrt_().add_(EPSILON)
        moved = self.deltas - self.settings.lr / (1 - BETAS[0] ** step) * first / scale
        length = torch.linalg.vector_norm(moved, dim=1)
        largest = self.settings.clamp * self.norms
        moved *= torch.where(length > largest, largest / length, 1.0)[:, None]
        self.deltas = torch.where(self.active[:, None], moved, self.deltas)
        self.steps += self.active
