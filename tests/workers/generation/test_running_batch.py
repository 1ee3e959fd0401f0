"""Decoding against transformers' own forward pass, on tiny models of every family."""

from __future__ import annotations

import time

import pytest
import torch

from configuration.redis.generation_messages import (
    ErrorEvent,
    FinishEvent,
    GenerationRequest,
    PromptEvent,
    TokensEvent,
)
from editing.model.decoder import Decoder
from editing.model.projection import GatheredRows, Matrices, RowVersions
from tests.support.tiny_models import CONFIGS, tiny_model, tiny_tokenizer
from workers.generation import prefill
from workers.generation.prefill import PREFILL_TOKENS
from workers.generation.running_batch import RunningBatch, SequenceEvents
from workers.generation.sampling import generator_for, sample_token
from workers.generation.sequences import DecodeSequence

TOKENIZER = tiny_tokenizer()
PROMPTS = [TOKENIZER.encode(text).ids for text in ("The mother tongue of", "Lyon", "Toko Yasuda plays the guitar")]


def request(**fields: object) -> GenerationRequest:
    defaults = {"id": "r", "model": "tiny", "version": 0, "prompts": PROMPTS, "max_tokens": 6, "temperature": 0}
    return GenerationRequest.model_validate({**defaults, "deadline": time.time() + 60, **fields})


@pytest.fixture(params=sorted(CONFIGS))
def model(request: pytest.FixtureRequest) -> tuple[torch.nn.Module, RunningBatch]:
    made = tiny_model(request.param)
    return made, RunningBatch(Decoder(made), TOKENIZER, frozenset())


def rows_of(asked: GenerationRequest, matrices: Matrices | None = None) -> list[DecodeSequence]:
    number = len(asked.prompts) * asked.n
    return [DecodeSequence(asked, choice, matrices or {}, TOKENIZER) for choice in range(number)]


def play(batch: RunningBatch, rows: list[DecodeSequence]) -> list[SequenceEvents]:
    """All events until the batch is empty."""
    return joined(batch, rows) + played(batch)


def joined(batch: RunningBatch, rows: list[DecodeSequence]) -> list[SequenceEvents]:
    """The events of reading the prompts of `rows`."""
    batch.join(rows)
    events: list[SequenceEvents] = []
    while batch.is_prefilling:
        events += batch.prefill()
    return events


def played(batch: RunningBatch) -> list[SequenceEvents]:
    events: list[SequenceEvents] = []
    while batch.sequences:
        events += batch.step()
    return events


def tokens_by_row(events: list[SequenceEvents]) -> dict[DecodeSequence, list[TokensEvent]]:
    found: dict[DecodeSequence, list[TokensEvent]] = {}
    for row, own in events:
        found.setdefault(row, []).extend(event for event in own if isinstance(event, TokensEvent))
    return found


def run(
    batch: RunningBatch, asked: GenerationRequest, matrices: Matrices | None = None
) -> dict[int, list[TokensEvent]]:
    return {row.choice: own for row, own in tokens_by_row(play(batch, rows_of(asked, matrices))).items()}


@torch.no_grad()
def greedy(model: torch.nn.Module, prompt: list[int], steps: int) -> tuple[list[int], list[float]]:
    ids, values = list(prompt), []
    for _ in range(steps):
        logprobs = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        ids.append(int(logprobs.argmax()))
        values.append(float(logprobs[ids[-1]]))
    return ids[len(prompt) :], values


def test_padded_rows_say_what_each_prompt_alone_says(model: tuple[torch.nn.Module, RunningBatch]) -> None:
    plain, decoder = model
    found = run(decoder, request(logprobs=2))
    for number, prompt in enumerate(PROMPTS):
        tokens, values = greedy(plain, prompt, 6)
        infos = [info for event in found[number] for info in event.tokens]
        assert [info.id for info in infos] == tokens
        assert [info.logprob for info in infos] == pytest.approx(values, abs=1e-5)
        assert all(info.top is not None and len(info.top) >= 2 for info in infos)


def test_a_version_says_what_the_merged_model_says_and_nothing_stays(
    model: tuple[torch.nn.Module, RunningBatch],
) -> None:
    plain, batch = model
    before = run(batch, request())
    projection = batch.decoder.projections[2]
    matrix = projection.weight.detach() + torch.randn_like(projection.weight)
    edited = run(batch, request(), {2: matrix})
    original = projection.weight.detach().clone()
    with torch.no_grad():
        projection.weight.copy_(matrix)
        merged = [greedy(plain, prompt, 6)[0] for prompt in PROMPTS]
        projection.weight.copy_(original)
    for number, tokens in enumerate(merged):
        text = "".join(event.text for event in edited[number])
        assert text == TOKENIZER.decode(PROMPTS[number] + tokens)[len(TOKENIZER.decode(PROMPTS[number])) :]
    assert run(batch, request()) == before


@pytest.mark.parametrize("versions", [3, 16])
@pytest.mark.parametrize("layers", [(2,), (0, 1, 2, 3)])
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_rows_of_many_versions_get_the_bits_of_the_same_batch_merged(
    name: str, layers: tuple[int, ...], versions: int
) -> None:
    """float32, where every change of a product's shape would show in the last bits."""
    plain = tiny_model(name, torch.float32)
    batch = RunningBatch(Decoder(plain), TOKENIZER, frozenset())
    projections = batch.decoder.projections
    torch.manual_seed(1)
    known: list[Matrices] = [{}]
    for _ in range(versions - 1):
        known.append({n: projections[n].weight.detach() + torch.randn_like(projections[n].weight) for n in layers})
    asked = request(prompts=[PROMPTS[n % 3] for n in range(17)], logprobs=3, max_tokens=4)
    rows = [DecodeSequence(asked, choice, known[choice % versions], TOKENIZER) for choice in range(17)]
    mixed = tokens_by_row(play(batch, rows))
    originals = {n: projections[n].weight.detach().clone() for n in layers}
    for version, matrices in enumerate(known):
        with torch.no_grad():
            for layer in layers:
                projections[layer].weight.copy_(matrices.get(layer, originals[layer]))
        merged = run(batch, asked)
        for row in rows[version::versions]:
            assert mixed[row] == merged[row.choice]


def staggered(batch: RunningBatch, rows: list[DecodeSequence]) -> dict[DecodeSequence, list[TokensEvent]]:
    """Rows that join in groups, two of which are read by turns, while those before them go on between the pieces."""
    events: list[SequenceEvents] = []
    for start in range(0, len(rows), 5):
        batch.join(rows[start : start + 2])
        batch.join(rows[start + 2 : start + 5])
        while batch.is_prefilling:
            events += batch.prefill()
            events += batch.step()
    return tokens_by_row(events + played(batch))


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_rows_that_join_piece_by_piece_get_the_bits_of_the_same_batch_merged(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefill, "PREFILL_TOKENS", 7)
    batch = RunningBatch(Decoder(tiny_model(name, torch.float32)), TOKENIZER, frozenset())
    weight = batch.decoder.projections[2].weight
    torch.manual_seed(1)
    known = [weight.detach().clone(), *(weight.detach() + torch.randn_like(weight) for _ in range(2))]
    asked = request(prompts=[PROMPTS[n % 3] for n in range(15)], logprobs=3, max_tokens=9)
    rows = [DecodeSequence(asked, choice, {2: known[choice % 3]}, TOKENIZER) for choice in range(15)]
    mixed = staggered(batch, rows)
    for version, matrix in enumerate(known):
        with torch.no_grad():
            weight.copy_(matrix)
        merged = {row.choice: own for row, own in staggered(batch, rows_of(asked)).items()}
        for row in rows[version::3]:
            assert mixed[row] == merged[row.choice]


@pytest.mark.parametrize("versions", [1, 3, 16])
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_gathered_rows_agree_with_the_same_rows_merged(name: str, versions: int) -> None:
    decoder = Decoder(tiny_model(name, torch.float32))
    torch.manual_seed(1)
    known: list[Matrices] = [{}]
    for _ in range(versions - 1):
        weights = [projection.weight.detach() for projection in decoder.projections]
        known.append({n: weight + 0.1 * torch.randn_like(weight) for n, weight in enumerate(weights) if n % 2})
    asked = request(prompts=[PROMPTS[n % 3] for n in range(17)], logprobs=3, max_tokens=4)
    exact, gathered = (
        tokens_by_row(play(RunningBatch(decoder, TOKENIZER, frozenset(), frame_of), rows)).values()
        for frame_of in (RowVersions, GatheredRows)
        for rows in [[DecodeSequence(asked, choice, known[choice % versions], TOKENIZER) for choice in range(17)]]
    )
    for one, other in zip(exact, gathered, strict=True):
        assert [info.id for event in one for info in event.tokens] == [i.id for event in other for i in event.tokens]
        values = [[info.logprob for event in own for info in event.tokens] for own in (one, other)]
        assert values[0] == pytest.approx(values[1], abs=1e-4)


def test_rows_that_join_and_leave_do_not_change_what_others_say(model: tuple[torch.nn.Module, RunningBatch]) -> None:
    plain, batch = model
    lengths = (3, 9, 6, 1, 7)
    asked = [request(prompts=[PROMPTS[n % 3]], max_tokens=length, logprobs=0) for n, length in enumerate(lengths)]
    rows = [rows_of(one)[0] for one in asked]
    events = joined(batch, rows[:1])
    for row in rows[1:]:
        events += batch.step()
        events += joined(batch, [row])
    events += played(batch)
    for number, (row, own) in enumerate(tokens_by_row(events).items()):
        assert row is rows[number]
        tokens, values = greedy(plain, PROMPTS[number % 3], lengths[number])
        assert [event.tokens[0].id for event in own] == tokens
        assert [event.tokens[0].logprob for event in own] == pytest.approx(values, abs=1e-5)


def test_echoed_prompts_carry_the_log_probability_of_each_token(model: tuple[torch.nn.Module, RunningBatch]) -> None:
    plain, decoder = model
    asked = request(echo=True, logprobs=0, max_tokens=0)
    events = [event for _, own in play(decoder, rows_of(asked)) for event in own]
    prompts = [event for event in events if isinstance(event, PromptEvent)]
    assert sorted(event.choice for event in prompts) == [0, 1, 2]
    assert [event.reason for event in events if isinstance(event, FinishEvent)] == ["length"] * 3
    for event in prompts:
        prompt = PROMPTS[event.choice]
        logprobs = plain(torch.tensor([prompt])).logits[0].log_softmax(-1)
        expected = [float(logprobs[n, token]) for n, token in enumerate(prompt[1:])]
        assert event.tokens[0].logprob is None
        assert [info.logprob for info in event.tokens[1:]] == pytest.approx(expected, abs=1e-5)


def test_prompts_that_are_read_in_small_pieces_say_the_same(
    model: tuple[torch.nn.Module, RunningBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, batch = model
    asked = request(echo=True, logprobs=2)
    whole = [event for _, own in play(batch, rows_of(asked)) for event in own]
    monkeypatch.setattr(prefill, "PREFILL_TOKENS", 4)
    monkeypatch.setattr(prefill, "LOGPROB_POSITIONS", 2)
    pieces = [event for _, own in play(batch, rows_of(asked)) for event in own]
    assert [event.kind for event in pieces] == [event.kind for event in whole]
    for one, other in zip(pieces, whole, strict=True):
        infos = list(zip(getattr(one, "tokens", []), getattr(other, "tokens", []), strict=True))
        assert all(a.id == b.id and a.logprob == pytest.approx(b.logprob, abs=1e-5) for a, b in infos)


def tokens_run(batch: RunningBatch, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens are run together from now on, each time."""
    found: list[int] = []
    embed = batch.decoder.embed

    def counted(tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        found.append(tokens.numel())
        return embed(tokens, positions)

    monkeypatch.setattr(batch.decoder, "embed", counted)
    return found


def test_a_long_prompt_is_read_in_pieces_between_which_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefill, "PREFILL_TOKENS", 8)
    batch = RunningBatch(Decoder(tiny_model("llama")), TOKENIZER, frozenset())
    joined(batch, rows_of(request(prompts=PROMPTS[:1], max_tokens=30)))
    (running,) = batch.sequences
    together = tokens_run(batch, monkeypatch)
    batch.join(rows_of(request(prompts=[PROMPTS[2] * 5])))
    before = running.generated
    while batch.is_prefilling:
        batch.prefill()
        batch.step()
    assert max(together) <= 8
    assert running.generated - before == -(-len(PROMPTS[2] * 5) // 8)


def test_choices_of_one_prompt_read_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = RunningBatch(Decoder(tiny_model("llama")), TOKENIZER, frozenset())
    asked = request(prompts=PROMPTS[:1], n=4, temperature=1.0, seed=3, max_tokens=8)
    together = tokens_run(batch, monkeypatch)
    events = joined(batch, rows_of(asked))
    assert together == [len(PROMPTS[0])]
    several = tokens_by_row(events + played(batch))
    for row, own in several.items():
        alone = DecodeSequence(asked, row.choice, {}, TOKENIZER)
        assert own == tokens_by_row(play(batch, [alone]))[alone]


def test_a_row_that_leaves_while_its_prompt_is_read_leaves_the_others_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prefill, "PREFILL_TOKENS", 4)
    batch = RunningBatch(Decoder(tiny_model("llama")), TOKENIZER, frozenset())
    alone = run(batch, request(logprobs=0))
    rows = rows_of(request(logprobs=0))
    batch.join(rows)
    batch.prefill()
    batch.leave(lambda row: row is rows[1])
    events: list[SequenceEvents] = []
    while batch.is_prefilling:
        events += batch.prefill()
    found = tokens_by_row(events + played(batch))
    assert set(found) == {rows[0], rows[2]}
    for row in found:
        texts = ["".join(event.text for event in own) for own in (found[row], alone[row.choice])]
        assert texts[0] == texts[1]
    batch.join(rows_of(request()))
    batch.leave(lambda _: True)
    assert not batch.is_prefilling


def test_a_row_whose_numbers_overflow_fails_alone() -> None:
    batch = RunningBatch(Decoder(tiny_model("llama")), TOKENIZER, frozenset())
    alone = run(batch, request(logprobs=0))
    weight = batch.decoder.projections[2].weight
    broken = {2: torch.full_like(weight, float("nan"))}
    asked = request(logprobs=0)
    rows = [DecodeSequence(asked, choice, broken if choice == 1 else {}, TOKENIZER) for choice in range(3)]
    events = play(batch, rows)
    assert tokens_by_row(events)[rows[0]] == alone[0]
    assert tokens_by_row(events)[rows[2]] == alone[2]
    ((error,),) = [own for row, own in events if row is rows[1]]
    assert isinstance(error, ErrorEvent)
    assert "not finite" in error.message


@pytest.mark.parametrize("when", ["reading", "decoding"])
def test_a_row_that_raises_fails_alone(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = RunningBatch(Decoder(tiny_model("llama")), TOKENIZER, frozenset())
    alone = run(batch, request(logprobs=0))
    rows = rows_of(request(logprobs=0))
    events = joined(batch, rows) if when == "decoding" else []

    def broken(*_: object) -> None:
        raise RuntimeError("internals")

    monkeypatch.setattr(rows[1], "advance", broken)
    events += played(batch) if when == "decoding" else play(batch, rows)
    for number in (0, 2):
        assert tokens_by_row(events)[rows[number]] == alone[number]
    error = next(own for row, own in reversed(events) if row is rows[1])[0]
    assert isinstance(error, ErrorEvent)
    assert "internals" not in error.message


def test_prompts_that_cannot_be_read_fail_alone() -> None:
    batch = RunningBatch(Decoder(tiny_model("llama")), TOKENIZER, frozenset())
    alone = run(batch, request(prompts=PROMPTS[:1], logprobs=0))
    (running,) = rows_of(request(prompts=PROMPTS[:1], logprobs=0))
    events = joined(batch, [running])
    (row,) = rows_of(request(prompts=[[batch.decoder.embedded]]))
    ((_, (error,)),) = joined(batch, [row])
    assert isinstance(error, ErrorEvent)
    assert tokens_by_row(events + played(batch))[running] == alone[0]


def test_one_token_is_generated_even_if_it_ends_the_text() -> None:
    plain = tiny_model("llama")
    tokens, _ = greedy(plain, PROMPTS[0], 1)
    decoder = RunningBatch(Decoder(plain), TOKENIZER, frozenset(tokens))
    ((_, (tokens_event, finish)),) = play(decoder, rows_of(request(prompts=PROMPTS[:1], logprobs=1)))
    assert isinstance(tokens_event, TokensEvent)
    assert (tokens_event.text, len(tokens_event.tokens)) == ("", 1)
    assert isinstance(finish, FinishEvent)
    assert finish.reason == "stop"


def test_a_seed_gives_the_same_text_whatever_else_is_asked() -> None:
    decoder = RunningBatch(Decoder(tiny_model("llama")), TOKENIZER, frozenset())
    sampled = {"temperature": 1.0, "seed": 7, "max_tokens": 8}
    several = run(decoder, request(n=2, **sampled))
    assert several == run(decoder, request(n=2, **sampled))
    texts = ["".join(event.text for event in several[choice]) for choice in (0, 1)]
    assert texts[0] != texts[1]
    assert several != run(decoder, request(n=2, **{**sampled, "seed": 8}))


def test_long_prompts_are_read_in_turns() -> None:
    batch = RunningBatch(Decoder(tiny_model("gpt2")), TOKENIZER, frozenset())
    number = PREFILL_TOKENS // len(PROMPTS[0]) + 3
    found = run(batch, request(prompts=[PROMPTS[0]] * number, max_tokens=2))
    assert sorted(found) == list(range(number))


def test_a_row_that_is_taken_out_leaves_the_others_as_they_are() -> None:
    plain = tiny_model("llama")
    batch = RunningBatch(Decoder(plain), TOKENIZER, frozenset())
    rows = rows_of(request(logprobs=0))
    events = joined(batch, rows)
    batch.leave(lambda row: row is rows[2])
    events += played(batch)
    found = tokens_by_row(events)
    assert len(found[rows[2]]) == 1
    for number in (0, 1):
        assert [event.tokens[0].id for event in found[rows[number]]] == greedy(plain, PROMPTS[number], 6)[0]


def test_top_p_keeps_the_smallest_sufficient_set() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    generator = generator_for(0, 0)
    assert {sample_token(logits, 1.0, 0.75, generator) for _ in range(200)} == {0, 1}
    assert {sample_token(logits, 1.0, 0.4, generator) for _ in range(50)} == {0}


@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-307, 1e-30])
def test_the_smallest_temperatures_are_greedy(temperature: float) -> None:
    logits = torch.tensor([-3.0, 20.0, 1.0, -float("inf")])
    assert sample_token(logits, temperature, 0.9, generator_for(1, 0)) == 1


def test_a_seed_gives_a_prompt_the_same_texts_alone_and_in_a_list() -> None:
    decoder = RunningBatch(Decoder(tiny_model("llama")), TOKENIZER, frozenset())
    sampled = {"temperature": 1.0, "seed": 7, "max_tokens": 8, "n": 2}
    listed = run(decoder, request(**sampled))
    for number, prompt in enumerate(PROMPTS):
        alone = run(decoder, request(prompts=[prompt], **sampled))
        for choice in range(2):
            same = listed[2 * number + choice]
            assert [event.text for event in alone[choice]] == [event.text for event in same]
