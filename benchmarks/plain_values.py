"""The plain way to a value, to hold `editing.values.optimisation` against: one group at a time, nothing shared.

A hook on the projection adds δ, and every step runs the whole model over whole sequences, padded on the right, with
logits at all positions. So do the published codes; parameters get no gradients here, which the fairest of them do too.
The loss, the optimiser and the stopping rules are written down again, on their own, from the papers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from editing.architectures import architecture_of
from editing.methods import EditSettings
from editing.subjects import PromptTokens
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup


@dataclass(frozen=True)
class PlainValue:
    """δ and state (d_out,), key (d_in,), and what was seen on the way."""

    delta: Tensor
    key: Tensor
    state: Tensor
    loss: float
    first_loss: float
    first_gradient: Tensor
    steps: int
    reached: bool


@dataclass(frozen=True)
class _FactRows:
    """One fact's rows: bare (None where it begins a text), after context texts, and in chat forms with their shares."""

    bare: int | None
    continued: list[int]
    chat: list[tuple[int, float]]


@dataclass(frozen=True)
class _Sequences:
    """Padded rows: first the facts under all contexts, then the subject's own ("{subject} is a").

    `facts` holds each fact's bare row, its rows after context texts, and those in chat forms with their shares. Where
    the subject is all there is of a text's beginning, context texts alone stand for the fact, if there are any.
    """

    tokens: Tensor
    present: Tensor
    subject: list[int]
    answers: list[tuple[int, tuple[int, ...], float]]
    facts: list[_FactRows]


def plain_value(
    model: nn.Module,
    group: SubjectGroup,
    contexts: Sequence[Context],
    settings: EditSettings,
    on_step: Callable[[], None] = lambda: None,
) -> PlainValue:
    """δ of one group by the plain way. `model` is a causal language model of its own: hooks are put on it meanwhile."""
    architecture = architecture_of(model)
    layer = list(model.get_submodule(architecture.layers).children())[max(settings.layers)]
    projection = layer.get_submodule(architecture.projection)
    model.requires_grad_(False)
    weight = projection.get_parameter("weight")
    sequences = _sequences(group, contexts, weight.device)
    rows = torch.arange(len(sequences.subject), device=weight.device)
    subject = torch.tensor(sequences.subject, device=weight.device)
    dtype = torch.promote_types(weight.dtype, torch.float32)
    width = weight.shape[1 if architecture.transposed else 0]
    delta = torch.zeros(width, dtype=dtype, device=weight.device, requires_grad=True)
    seen: dict[str, Tensor] = {}

    def move(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen.setdefault("inputs", inputs[0].detach()[rows, subject])
        moved = output.clone()
        moved[rows, subject] += delta.to(output.dtype)
        return moved

    def look(_: nn.Module, __: Any, output: Any) -> None:
        stream = output[0] if isinstance(output, tuple) else output
        seen.setdefault("stream", stream.detach()[rows, subject])

    hooks = [projection.register_forward_hook(move), layer.register_forward_hook(look)]
    try:
        return _optimise(model, sequences, settings, delta, seen, on_step)
    finally:
        for hook in hooks:
            hook.remove()


def _optimise(
    model: nn.Module,
    sequences: _Sequences,
    settings: EditSettings,
    delta: Tensor,
    seen: dict[str, Tensor],
    on_step: Callable[[], None],
) -> PlainValue:
    optimiser = _optimiser(delta, settings)
    reference: Tensor | None = None
    first_reached: int | None = None
    first_loss, first_gradient = 0.0, torch.zeros_like(delta)
    for step in range(settings.steps + 1):
        with torch.set_grad_enabled(step < settings.steps):
            logits = model(input_ids=sequences.tokens, attention_mask=sequences.present.long()).logits
            log_p = torch.log_softmax(logits.to(delta.dtype), -1)
            state = _state(seen["stream"].to(delta.dtype), sequences)
            loss, reached = _answers(log_p, sequences)
            if settings.kl_factor > 0:
                now = log_p[-1, sequences.subject[-1]]
                reference = now.detach().clone() if reference is None else reference
                loss = loss + settings.kl_factor * _divergence(reference, now, settings.kl_direction)
            loss = loss + settings.weight_decay * delta.norm() / state.norm() ** 2
        first_reached = step if reached and first_reached is None else first_reached
        done = loss.item() < settings.stop_loss
        if settings.stop_after_argmax >= 0 and reached and first_reached is not None:
            done |= step - first_reached >= settings.stop_after_argmax
        if step == 0:
            first_loss = loss.item()
        if done or step == settings.steps:
            break
        optimiser.zero_grad()
        loss.backward()
        if step == 0 and delta.grad is not None:
            first_gradient = delta.grad.clone()
        optimiser.step()
        with torch.no_grad():
            longest = settings.clamp * state.norm()
            if delta.norm() > longest:
                delta *= longest / delta.norm()
        on_step()
    return PlainValue(
        delta=delta.detach(),
        key=_key(seen["inputs"].to(delta.dtype), sequences),
        state=state,
        loss=loss.item(),
        first_loss=first_loss,
        first_gradient=first_gradient,
        steps=step,
        reached=reached,
    )


class _OneMoment(torch.optim.Optimizer):
    """Adam with the mean of its second moments for all elements."""

    def __init__(self, delta: Tensor, lr: float) -> None:
        super().__init__([delta], {"lr": lr})
        self.first, self.second, self.steps = torch.zeros_like(delta), delta.new_zeros(()), 0

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # without a closure
        (delta,) = self.param_groups[0]["params"]
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * delta.grad
        self.second = 0.999 * self.second + 0.001 * delta.grad.square().mean()
        mean, moment = self.first / (1 - 0.9**self.steps), self.second / (1 - 0.999**self.steps)
        delta -= self.param_groups[0]["lr"] * mean / (moment.sqrt() + 1e-8)


def _optimiser(delta: Tensor, settings: EditSettings) -> torch.optim.Optimizer:
    if settings.second_moment == "value":
        return _OneMoment(delta, settings.lr)
    return torch.optim.Adam([delta], lr=settings.lr)


def _answers(log_p: Tensor, sequences: _Sequences) -> tuple[Tensor, bool]:
    loss = log_p.new_zeros(())
    reached = True
    for row, (first, target, weight) in enumerate(sequences.answers):
        labels = torch.tensor(target, device=log_p.device)
        read = log_p[row, first : first + len(target)]
        loss = loss - weight * read.gather(1, labels[:, None]).mean()
        reached &= bool((read.argmax(-1) == labels).all())
    return loss, reached


def _divergence(before: Tensor, now: Tensor, direction: str) -> Tensor:
    if direction == "forward":
        return (before.exp() * (before - now)).sum()
    return (now.exp() * (now - before)).sum()


def _key(inputs: Tensor, sequences: _Sequences) -> Tensor:
    keys = []
    for fact in sequences.facts:
        parts = [inputs[rows].mean(0) for rows in ([] if fact.bare is None else [fact.bare], fact.continued) if rows]
        rest = 1.0 - sum(share for _, share in fact.chat)
        key = rest * torch.stack(parts).mean(0)
        for row, share in fact.chat:
            key = key + share * inputs[row]
        keys.append(key)
    return torch.stack(keys).mean(0)


def _state(stream: Tensor, sequences: _Sequences) -> Tensor:
    states = [stream[fact.continued].mean(0) if fact.bare is None else stream[fact.bare] for fact in sequences.facts]
    return torch.stack(states).mean(0)


def _sequences(group: SubjectGroup, contexts: Sequence[Context], device: torch.device) -> _Sequences:
    rows: list[list[int]] = []
    subject: list[int] = []
    answers: list[tuple[int, tuple[int, ...], float]] = []
    facts: list[_FactRows] = []
    texts = [context for context in contexts if context.chat is None]
    chats = [(context, context.chat) for context in contexts if context.chat is not None]
    rest = 1.0 - sum(context.share for context, _ in chats)

    def add(before: Sequence[int], text: PromptTokens, share: float) -> int:
        rows.append([*before, *text.prompt, *text.target[:-1]])
        subject.append(len(before) + text.subject_last)
        answers.append((len(before) + len(text.prompt) - 1, text.target, share / len(group.facts)))
        return len(rows) - 1

    for fact in group.facts:
        left_out = bool(texts) and fact.tokens.bare.subject_last == 0
        share = rest / (len(texts) + (not left_out))
        bare = None if left_out else add((), fact.tokens.bare, share)
        continued = [add(context.tokens, fact.tokens.continued, share) for context in texts]
        chat = [(add(context.tokens, fact.tokens.chat[form], context.share), context.share) for context, form in chats]
        facts.append(_FactRows(bare, continued, chat))
    essence = group.facts[0].tokens.essence
    rows.append(list(essence.prompt))
    subject.append(essence.subject_last)
    longest = max(len(row) for row in rows)
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
    present = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows], device=device)
    return _Sequences(tokens, present, subject, answers, facts)
