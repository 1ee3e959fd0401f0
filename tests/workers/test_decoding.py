"""Decoding against transformers' own forward pass, on tiny models of every family."""

from __future__ import annotations

import time

import pytest
import torch

from api_schemas.generation import FinishEvent, GenerationRequest, PromptEvent, TokensEvent
from editing.decoder import Decoder
from editing.projection import Matrices
from tests.editing.tiny_models import CONFIGS, tiny_model, tiny_tokenizer
from workers.generation.decoding import PREFILL_TOKENS, DecodeBatch, RowEvents
from workers.generation.rows import Row
from workers.generation.sampling import generator_for, next_token

TOKENIZER = tiny_tokenizer()
PROMPTS = [TOKENIZER.encode(text).ids for text in ("The mother tongue of", "Lyon", "Toko Yasuda plays the guitar")]


def request(**fields: object) -> GenerationRequest:
    defaults = {"id": "r", "model": "tiny", "version": 0, "prompts": PROMPTS, "max_tokens": 6, "temperature": 0}
    return GenerationRequest.model_validate({**defaults, "deadline": time.time() + 60, **fields})


@pytest.fixture(params=sorted(CONFIGS))
def model(request: pytest.FixtureRequest) -> tuple[torch.nn.Module, DecodeBatch]:
    made = tiny_model(request.param)
    return made, DecodeBatch(Decoder(made), TOKENIZER, frozenset())


def rows_of(asked: GenerationRequest, matrices: Matrices | None = None) -> list[Row]:
    number = len(asked.prompts) * asked.n
    return [Row(asked, choice, matrices or {}, TOKENIZER) for choice in range(number)]


def play(batch: DecodeBatch, rows: list[Row]) -> list[RowEvents]:
    """All events until the batch is empty."""
    events = list(batch.join(rows))
    while batch.rows:
        events += batch.step()
    return events


def tokens_by_row(events: list[RowEvents]) -> dict[Row, list[TokensEvent]]:
    found: dict[Row, list[TokensEvent]] = {}
    for row, own in events:
        found.setdefault(row, []).extend(event for event in own if isinstance(event, TokensEvent))
    return found


def run(batch: DecodeBatch, asked: GenerationRequest, matrices: Matrices | None = None) -> dict[int, list[TokensEvent]]:
    return {row.choice: own for row, own in tokens_by_row(play(batch, rows_of(asked, matrices))).items()}


@torch.no_grad()
def greedy(model: torch.nn.Module, prompt: list[int], steps: int) -> tuple[list[int], list[float]]:
    ids, values = list(prompt), []
    for _ in range(steps):
        logprobs = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        ids.append(int(logprobs.argmax()))
        values.append(float(logprobs[ids[-1]]))
    return ids[len(prompt) :], values


def test_padded_rows_say_what_each_prompt_alone_says(model: tuple[torch.nn.Module, DecodeBatch]) -> None:
    plain, decoder = model
    found = run(decoder, request(logprobs=2))
    for number, prompt in enumerate(PROMPTS):
        tokens, values = greedy(plain, prompt, 6)
        infos = [info for event in found[number] for info in event.tokens]
        assert [info.id for info in infos] == tokens
        assert [info.logprob for info in infos] == pytest.approx(values, abs=1e-5)
        assert all(info.top is not None and len(info.top) >= 2 for info in infos)


def test_a_version_says_what_the_merged_model_says_and_nothing_stays(
    model: tuple[torch.nn.Module, DecodeBatch],
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
    batch = DecodeBatch(Decoder(plain), TOKENIZER, frozenset())
    projections = batch.decoder.projections
    torch.manual_seed(1)
    known: list[Matrices] = [{}]
    for _ in range(versions - 1):
        known.append({n: projections[n].weight.detach() + torch.randn_like(projections[n].weight) for n in layers})
    asked = request(prompts=[PROMPTS[n % 3] for n in range(17)], logprobs=3, max_tokens=4)
    rows = [Row(asked, choice, known[choice % versions], TOKENIZER) for choice in range(17)]
    mixed = tokens_by_row(play(batch, rows))
    originals = {n: projections[n].weight.detach().clone() for n in layers}
    for version, matrices in enumerate(known):
        with torch.no_grad():
            for layer in layers:
                projections[layer].weight.copy_(matrices.get(layer, originals[layer]))
        merged = run(batch, asked)
        for row in rows[version::versions]:
            assert mixed[row] == merged[row.choice]


def test_rows_that_join_and_leave_do_not_change_what_others_say(model: tuple[torch.nn.Module, DecodeBatch]) -> None:
    plain, batch = model
    lengths = (3, 9, 6, 1, 7)
    asked = [request(prompts=[PROMPTS[n % 3]], max_tokens=length, logprobs=0) for n, length in enumerate(lengths)]
    rows = [rows_of(one)[0] for one in asked]
    events = list(batch.join(rows[:1]))
    for row in rows[1:]:
        events += batch.step()
        events += batch.join([row])
    while batch.rows:
        events += batch.step()
    for number, (row, own) in enumerate(tokens_by_row(events).items()):
        assert row is rows[number]
        tokens, values = greedy(plain, PROMPTS[number % 3], lengths[number])
        assert [event.tokens[0].id for event in own] == tokens
        assert [event.tokens[0].logprob for event in own] == pytest.approx(values, abs=1e-5)


def test_echoed_prompts_carry_the_log_probability_of_each_token(model: tuple[torch.nn.Module, DecodeBatch]) -> None:
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


def test_one_token_is_generated_even_if_it_ends_the_text() -> None:
    plain = tiny_model("llama")
    tokens, _ = greedy(plain, PROMPTS[0], 1)
    decoder = DecodeBatch(Decoder(plain), TOKENIZER, frozenset(tokens))
    ((_, (tokens_event, finish)),) = play(decoder, rows_of(request(prompts=PROMPTS[:1], logprobs=1)))
    assert isinstance(tokens_event, TokensEvent)
    assert (tokens_event.text, len(tokens_event.tokens)) == ("", 1)
    assert isinstance(finish, FinishEvent)
    assert finish.reason == "stop"


def test_a_seed_gives_the_same_text_whatever_else_is_asked() -> None:
    decoder = DecodeBatch(Decoder(tiny_model("llama")), TOKENIZER, frozenset())
    sampled = {"temperature": 1.0, "seed": 7, "max_tokens": 8}
    several = run(decoder, request(n=2, **sampled))
    assert several == run(decoder, request(n=2, **sampled))
    texts = ["".join(event.text for event in several[choice]) for choice in (0, 1)]
    assert texts[0] != texts[1]
    assert several != run(decoder, request(n=2, **{**sampled, "seed": 8}))


def test_long_prompts_are_read_in_turns() -> None:
    batch = DecodeBatch(Decoder(tiny_model("gpt2")), TOKENIZER, frozenset())
    number = PREFILL_TOKENS // len(PROMPTS[0]) + 3
    found = run(batch, request(prompts=[PROMPTS[0]] * number, max_tokens=2))
    assert sorted(found) == list(range(number))


def test_a_row_that_is_taken_out_leaves_the_others_as_they_are() -> None:
    plain = tiny_model("llama")
    batch = DecodeBatch(Decoder(plain), TOKENIZER, frozenset())
    rows = rows_of(request(logprobs=0))
    events = list(batch.join(rows))
    batch.leave(lambda row: row is rows[2])
    while batch.rows:
        events += batch.step()
    found = tokens_by_row(events)
    assert len(found[rows[2]]) == 1
    for number in (0, 1):
        assert [event.tokens[0].id for event in found[rows[number]]] == greedy(plain, PROMPTS[number], 6)[0]


def test_top_p_keeps_the_smallest_sufficient_set() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    generator = generator_for(0, 0)
    assert {next_token(logits, 1.0, 0.75, generator) for _ in range(200)} == {0, 1}
    assert {next_token(logits, 1.0, 0.4, generator) for _ in range(50)} == {0}
    assert next_token(logits, 0, 1.0, generator) == 0
