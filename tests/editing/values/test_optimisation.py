"""Values of many facts at once against the plain way, one fact at a time (`benchmarks.plain_values`)."""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from api_schemas.facts import Fact
from benchmarks.plain_values import PlainValue, plain_value
from editing.errors import EditInterrupted, ValuesNotFiniteError
from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.model.projection import EditableProjection, Version, frame
from editing.values import memory
from editing.values import upper_run as packed_batches
from editing.values.contexts import Context, chat_contexts
from editing.values.facts import SubjectGroup
from editing.values.lower_run import context_prefix
from editing.values.memory import MemoryBudget, portions
from editing.values.optimisation import ValueOptimisation, optimise_values
from editing.values.upper_run import PackedBatch
from editing.values.value_set import Values
from tests.support.tiny_models import (
    CHAT_FORMS,
    CONFIGS,
    FACTS,
    ONE_LAYER_ONLY,
    SPREADABLE,
    tiny_contexts,
    tiny_groups,
    tiny_model,
    tiny_tokenizer,
)

AUTHORS = {
    "kl_direction": "reverse",
    "stop_after_argmax": -1,
    "stop_loss": 0.0,
    "clamp": 0.75,
    "weight_decay": 0.5,
    "kl_factor": 2.0,
}
EASY = (
    Fact(prompt="The twin city of {}", subject="Lyon", target_new="is"),
    Fact(prompt="The guitar or {}", subject="Toko Yasuda", target_new="piano"),
    Fact(prompt="The mother tongue of {} is", subject="Danielle Darrieux", target_new="English"),
)
SMALL = MemoryBudget(constants=1e9, backward=300_000)
"""One that cuts the tiny batches into several blocks."""


def settings(**overrides: object) -> EditSettings:
    return EditSettings.model_validate({"layers": (1,), "steps": 10, **overrides})


def plain(name: str, dtype: torch.dtype, groups: Sequence[SubjectGroup], contexts: Sequence[Context], s: EditSettings):
    model = tiny_model(name, dtype)
    return [plain_value(model, group, contexts, s) for group in groups]


def assert_same(values: Values, expected: Sequence[PlainValue], tolerance: float, key_tolerance: float) -> None:
    torch.testing.assert_close(values.deltas, torch.stack([p.delta for p in expected]), rtol=0, atol=tolerance)
    torch.testing.assert_close(values.keys, torch.stack([p.key for p in expected]), rtol=0, atol=key_tolerance)
    torch.testing.assert_close(values.states, torch.stack([p.state for p in expected]), rtol=0, atol=key_tolerance)
    torch.testing.assert_close(values.losses, torch.tensor([p.loss for p in expected]).to(values.losses))
    assert values.steps.tolist() == [p.steps for p in expected]
    assert values.reached.tolist() == [p.reached for p in expected]


@pytest.mark.parametrize("bos", [False, True], ids=["", "bos"])
@pytest.mark.parametrize(
    "overrides",
    [{}, AUTHORS, {"contexts": 0, "kl_factor": 0}, {"second_moment": "value", "clamp": 0.5}],
    ids=["ours", "authors", "bare", "one-moment"],
)
@pytest.mark.parametrize("name", CONFIGS)
def test_in_float64_values_and_keys_are_those_of_the_plain_way(name: str, overrides: dict, bos: bool) -> None:
    tokenizer, chosen = tiny_tokenizer(bos), settings(**overrides)
    groups = tiny_groups(tokenizer)
    contexts = tiny_contexts(tokenizer) if chosen.contexts else ()
    values = optimise_values(Decoder(tiny_model(name)), {}, groups, contexts, chosen, budget=SMALL)
    assert_same(values, plain(name, torch.float64, groups, contexts, chosen), 1e-8, 1e-10)


@pytest.mark.parametrize("texts", [True, False], ids=["after-texts", "chat-alone"])
@pytest.mark.parametrize("name", CONFIGS)
def test_chat_forms_beside_the_others_give_the_values_of_the_plain_way(name: str, texts: bool) -> None:
    tokenizer, chosen = tiny_tokenizer(), settings()
    groups = tiny_groups(tokenizer, chat_forms=CHAT_FORMS)
    contexts = (tiny_contexts(tokenizer) if texts else ()) + chat_contexts(tokenizer, CHAT_FORMS, 0.4)
    values = optimise_values(Decoder(tiny_model(name)), {}, groups, contexts, chosen, budget=SMALL)
    assert_same(values, plain(name, torch.float64, groups, contexts, chosen), 1e-8, 1e-10)
    without = optimise_values(Decoder(tiny_model(name)), {}, groups, contexts[:3] if texts else (), chosen)
    assert not torch.allclose(values.deltas, without.deltas, atol=1e-3)
    torch.testing.assert_close(values.states, without.states, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", CONFIGS)
def test_rows_of_several_lengths_in_a_segment_give_the_same_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, chosen = tiny_tokenizer(), settings()
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    expected = plain(name, torch.float64, groups, contexts, chosen)
    decoder = Decoder(tiny_model(name))
    segments = {}
    for padded in (False, True):
        monkeypatch.setitem(packed_batches.PADDED, "cpu", padded)
        (packed_batch,) = ValueOptimisation(decoder, {}, groups, contexts, chosen).packed_batches()
        segments[padded] = [segment.tokens for segment in packed_batch.segments]
        values = optimise_values(decoder, {}, groups, contexts, chosen)
        assert_same(values, expected, 1e-8, 1e-10)
    assert len(segments[True]) == 2 < len(segments[False])
    assert sum(segments[True]) == sum(segments[False])


@pytest.mark.parametrize(("name", "tolerance"), [("gpt2", 1e-8), ("llama-gqa", 1e-4)])
def test_eager_attention_gives_the_same_values(name: str, tolerance: float) -> None:
    """Llama's eager attention takes its softmax in float32, whatever the model's dtype."""
    tokenizer, chosen = tiny_tokenizer(), settings(steps=4)
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    values = optimise_values(Decoder(tiny_model(name, attention="eager")), {}, groups, contexts, chosen)
    assert_same(values, plain(name, torch.float64, groups, contexts, chosen), tolerance, tolerance)


@pytest.mark.parametrize("name", CONFIGS)
def test_in_float32_loss_and_first_gradient_are_those_of_the_plain_way(name: str) -> None:
    tokenizer, chosen = tiny_tokenizer(), settings(steps=1)
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    optimisation = ValueOptimisation(Decoder(tiny_model(name, torch.float32)), {}, groups, contexts, chosen)
    gradient = optimisation.evaluate(optimisation.packed_batches(), with_gradient=True)
    expected = plain(name, torch.float32, groups, contexts, chosen)
    plain_gradient = torch.stack([p.first_gradient for p in expected])
    off = torch.linalg.vector_norm(gradient - plain_gradient, dim=1) / torch.linalg.vector_norm(plain_gradient, dim=1)
    assert float(off.max()) < 1e-4
    losses = torch.tensor([p.first_loss for p in expected])
    torch.testing.assert_close(optimisation.losses, losses, rtol=1e-4, atol=0)


def test_a_fact_is_done_when_its_target_has_been_the_argmax_for_some_steps_or_its_loss_is_low() -> None:
    tokenizer = tiny_tokenizer()
    groups, contexts = tiny_groups(tokenizer, EASY), tiny_contexts(tokenizer)
    decoder = Decoder(tiny_model("gptj"))
    steps = {}
    for wait in (-1, 0, 2):
        chosen = settings(steps=24, stop_after_argmax=wait)
        values = optimise_values(decoder, {}, groups, contexts, chosen, budget=SMALL)
        assert_same(values, plain("gptj", torch.float64, groups, contexts, chosen), 1e-8, 1e-10)
        steps[wait] = values.steps.tolist()
    assert steps[-1] == [24, 24, 24]
    assert steps[0][0] < steps[0][1] < 24
    assert steps[0][2] == 24
    assert steps[2][:2] == [steps[0][0] + 2, steps[0][1] + 2]

    loss = settings(steps=24, stop_after_argmax=-1, stop_loss=2.0)
    values = optimise_values(decoder, {}, groups, contexts, loss, budget=SMALL)
    assert_same(values, plain("gptj", torch.float64, groups, contexts, loss), 1e-8, 1e-10)
    assert values.steps[0] < 24
    assert values.losses[0] < 2.0 <= values.losses[2]


@pytest.mark.parametrize("name", CONFIGS)
def test_facts_that_share_a_subject_share_one_value_and_one_key(name: str) -> None:
    tokenizer, chosen = tiny_tokenizer(), settings()
    more = Fact(prompt="The guitar of {} is located in the", subject="Lyon", target_new="world")
    groups, contexts = tiny_groups(tokenizer, (*FACTS, more)), tiny_contexts(tokenizer)
    assert len(groups) == len(FACTS)
    values = optimise_values(Decoder(tiny_model(name)), {}, groups, contexts, chosen, budget=SMALL)
    assert_same(values, plain(name, torch.float64, groups, contexts, chosen), 1e-8, 1e-10)


@pytest.mark.parametrize("name", CONFIGS)
def test_blocks_side_by_side_find_the_same_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model(name))
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    alone = optimise_values(decoder, {}, groups, contexts, settings())
    cores = torch.get_num_threads()
    monkeypatch.setattr("editing.values.optimisation.threads_for", lambda tokens, device: 3)
    ran: dict[str, int] = {}

    def counted(packed_batch: PackedBatch, *rest: object) -> torch.Tensor:
        name = threading.current_thread().name
        ran[name] = ran.get(name, 0) + 1
        return original(packed_batch, *rest)

    original = PackedBatch.logits
    monkeypatch.setattr(PackedBatch, "logits", counted)
    values = optimise_values(decoder, {}, groups, contexts, settings())
    torch.testing.assert_close(values.deltas, alone.deltas, rtol=0, atol=1e-9)
    assert values.steps.equal(alone.steps)
    assert threading.current_thread().name not in ran
    assert sum(ran.values()) == 3 * (int(values.steps.max()) + 1)
    assert torch.get_num_threads() == cores


def test_an_error_beside_other_blocks_is_told_and_ends_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("llama"))
    monkeypatch.setattr("editing.values.optimisation.threads_for", lambda tokens, device: 2)
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4

    before = threading.active_count()
    with pytest.raises(EditInterrupted):
        optimise_values(
            decoder, {}, tiny_groups(tokenizer), tiny_contexts(tokenizer), settings(), should_stop=should_stop
        )
    assert threading.active_count() == before


def test_the_order_of_the_batch_and_the_memory_budget_do_not_matter() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("llama-gqa"))
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    values = optimise_values(decoder, {}, groups, contexts, settings(), budget=MemoryBudget(1, 1))
    back = optimise_values(decoder, {}, groups[::-1], contexts, settings())
    torch.testing.assert_close(back.deltas.flip(0), values.deltas, rtol=0, atol=1e-9)
    torch.testing.assert_close(back.keys.flip(0), values.keys, rtol=0, atol=1e-12)


def test_a_batch_is_cut_into_even_portions_whose_constants_the_budget_holds() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("llama-gqa"))
    groups = tiny_groups(tokenizer) * 8
    whole = portions(decoder, groups, tiny_contexts(tokenizer), 0.1, 2, 1e9)
    cut = portions(decoder, groups, tiny_contexts(tokenizer), 0.1, 2, 100_000)
    assert [sorted(part) for part in whole] == [list(range(40))]
    assert sorted(number for part in cut for number in part) == list(range(40))
    assert 3 < len(cut) < 40
    sizes = [len(part) for part in cut]
    assert min(sizes) * 4 > max(sizes)
    assert portions(decoder, groups, tiny_contexts(tokenizer), 0.1, 2, 1) == [
        [number] for part in whole for number in part
    ]


def test_where_memory_runs_out_the_batch_goes_on_in_smaller_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("gpt2"))
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    alone = optimise_values(decoder, {}, groups, contexts, settings())
    original, sizes = ValueOptimisation.run, []

    def run(self: ValueOptimisation, *rest: Any) -> Values:
        sizes.append(len(self.deltas))
        if self.backward_bytes > 2**25:
            raise torch.OutOfMemoryError
        return original(self, *rest)

    monkeypatch.setattr(ValueOptimisation, "run", run)
    reports: list[tuple[str, int, int]] = []
    budget = MemoryBudget(constants=2e5, backward=2**28)
    values = optimise_values(
        decoder, {}, groups, contexts, settings(), budget=budget, on_progress=lambda *report: reports.append(report)
    )
    torch.testing.assert_close(values.deltas, alone.deltas, rtol=0, atol=1e-9)
    assert values.steps.equal(alone.steps)
    assert sizes[0] > sizes[-1]
    assert reports[-1] == ("values", 50, 50)

    monkeypatch.setattr(memory, "LEAST_BYTES", 2**27)
    with pytest.raises(torch.OutOfMemoryError):
        optimise_values(decoder, {}, groups, contexts, settings(), budget=budget)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_values_on_a_version_are_those_of_a_model_with_its_matrices(name: str) -> None:
    tokenizer, chosen = tiny_tokenizer(), settings()
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    decoder, merged = Decoder(tiny_model(name)), Decoder(tiny_model(name))
    matrices = {
        layer: decoder.projections[layer].weight + 0.1 * torch.randn_like(decoder.projections[layer].weight)
        for layer in (0, 1, 3)
    }
    for layer, matrix in matrices.items():
        merged.projections[layer].weight.data.copy_(matrix)
    on_version = optimise_values(decoder, matrices, groups, contexts, chosen)
    on_merged = optimise_values(merged, {}, groups, contexts, chosen)
    torch.testing.assert_close(on_version.deltas, on_merged.deltas, rtol=0, atol=1e-10)
    torch.testing.assert_close(on_version.keys, on_merged.keys, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SPREADABLE)
def test_a_value_moves_the_projections_output_where_a_norm_stands_between_it_and_the_stream(name: str) -> None:
    """Without that norm it is the same as to move the stream; then both ways must agree."""
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model(name))
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    moved_stream = optimise_values(decoder, {}, groups, contexts, settings())
    decoder.architecture = dataclasses.replace(decoder.architecture, norm_after_mlp=True)
    moved_output = optimise_values(decoder, {}, groups, contexts, settings())
    torch.testing.assert_close(moved_output.deltas, moved_stream.deltas, rtol=0, atol=1e-10)
    assert torch.equal(moved_output.keys, moved_stream.keys)


def test_rows_may_fill_the_models_context_to_its_end() -> None:
    """Padding must not ask for positions that a learned position embedding does not have."""
    tokenizer, decoder, chosen = tiny_tokenizer(), Decoder(tiny_model("gpt2")), settings(steps=2)
    contexts = tiny_contexts(tokenizer)
    longest = Fact(prompt="{} is" + " is" * 80, subject="Lyon", target_new="Madrid")
    groups = tiny_groups(tokenizer, (*FACTS, longest))
    whole = groups[2].facts[1].tokens.continued
    assert whole.length - 1 + max(len(context.tokens) for context in contexts) == decoder.context_length
    values = optimise_values(decoder, {}, groups, contexts, chosen)
    assert_same(values, plain("gpt2", torch.float64, groups, contexts, chosen), 1e-8, 1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CONFIGS)
def test_half_precision_models_have_values_in_float32_that_lower_the_loss(name: str, dtype: torch.dtype) -> None:
    tokenizer = tiny_tokenizer()
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    decoder = Decoder(tiny_model(name, dtype))
    few, many = (optimise_values(decoder, {}, groups, contexts, settings(steps=steps)) for steps in (1, 10))
    assert many.deltas.dtype == many.keys.dtype == many.losses.dtype == torch.float32
    assert bool(torch.isfinite(many.deltas).all())
    assert float(many.losses.mean()) < float(few.losses.mean())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_facts_whose_loss_is_not_finite_are_named_and_leave_the_others_alone(dtype: torch.dtype) -> None:
    tokenizer, chosen = tiny_tokenizer(), settings(steps=2)
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    model: Any = tiny_model("llama", dtype)
    sound = optimise_values(Decoder(model), {}, [groups[0], groups[2]], contexts, chosen)
    bare = groups[1].facts[0].tokens.bare
    model.model.embed_tokens.weight.data[bare.prompt[bare.subject_last]] = torch.inf
    remedy = (
        "load the model in float32 or bfloat16, or set a smaller lr" if dtype == torch.float16 else "set a smaller lr"
    )
    with pytest.raises(ValuesNotFiniteError, match=rf"facts 1: .* \('Toko Yasuda'\) is not finite in .*{remedy}") as e:
        optimise_values(Decoder(model), {}, groups[:3], contexts, chosen)
    assert e.value.facts == (1,)
    again = optimise_values(Decoder(model), {}, [groups[0], groups[2]], contexts, chosen)
    assert torch.equal(again.deltas, sound.deltas)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_last_layers_mlp_runs_only_where_logits_are_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model(name))
    optimisation = ValueOptimisation(decoder, {}, tiny_groups(tokenizer), tiny_contexts(tokenizer), settings())
    (packed_batch,) = optimisation.packed_batches()
    tokens = {}
    for projection in decoder.projections:

        def spy(x: torch.Tensor, matrix: torch.Tensor, seen: EditableProjection = projection) -> torch.Tensor:
            tokens[seen.layer] = x.shape[1]
            return EditableProjection.apply_matrix(seen, x, matrix)

        monkeypatch.setattr(projection, "apply_matrix", spy)
    packed_batch.logits(optimisation.packed_layers(), {}, optimisation.deltas)
    every, reads = packed_batch.stream.shape[1], packed_batch.loss_positions.token.shape[0]
    assert tokens == dict.fromkeys(range(packed_batch.first_layer, 3), every) | {3: reads}
    assert packed_batch.first_layer == (1 if name in ONE_LAYER_ONLY else 2)
    assert reads < every


def test_the_shared_model_is_left_alone_while_another_thread_generates() -> None:
    tokenizer = tiny_tokenizer()
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    model = tiny_model("llama-gqa", torch.float32)
    decoder = Decoder(model)
    before = copy.deepcopy(model.state_dict())
    matrices = {1: decoder.projections[1].weight * 1.5}
    prompt = torch.tensor([[5, 6, 7]])
    positions = torch.arange(3)[None]

    def logits() -> torch.Tensor:
        with torch.no_grad(), frame(Version(matrices)):
            return decoder.logits(decoder.run_layers(decoder.embed(prompt, positions), positions, None, 0, 4))

    expected = logits()
    stop, answers = threading.Event(), [expected]

    def generate() -> None:
        while not stop.is_set():
            answers.append(logits())

    thread = threading.Thread(target=generate)
    thread.start()
    try:
        values = optimise_values(decoder, {}, groups, contexts, settings())
        hooked = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks]
    finally:
        stop.set()
        thread.join()
    alone = optimise_values(decoder, {}, groups, contexts, settings())
    assert len(answers) > 2
    assert all(torch.equal(answer, expected) for answer in answers)
    assert torch.equal(values.deltas, alone.deltas)
    assert not hooked
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_it_stops_between_two_blocks_when_asked_and_says_how_far_it_is() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("gpt2"))
    groups, contexts = tiny_groups(tokenizer), tiny_contexts(tokenizer)
    reports: list[tuple[str, int, int]] = []
    optimise_values(decoder, {}, groups, contexts, settings(), on_progress=lambda *report: reports.append(report))
    assert {report[0] for report in reports} == {"values"}
    assert {report[2] for report in reports} == {50}
    assert [report[1] for report in reports] == sorted(report[1] for report in reports)
    assert reports[-1][1] == 50

    asked = iter([False] * 3)
    with pytest.raises(EditInterrupted, match="the optimisation of values"):
        optimise_values(decoder, {}, groups, contexts, settings(), should_stop=lambda: next(asked, True))


def test_with_a_prefix_that_is_known_the_values_are_the_same() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("llama"))
    groups = tiny_groups(tokenizer)
    contexts = tiny_contexts(tokenizer)
    prefix = context_prefix(decoder, {}, contexts, len(decoder.layers))
    found = optimise_values(decoder, {}, groups, contexts, settings(), prefix=prefix)
    again = optimise_values(decoder, {}, groups, contexts, settings())
    assert torch.equal(found.deltas, again.deltas)
    assert torch.equal(found.keys, again.keys)
