"""Decoding against transformers' own forward pass, on tiny models of every family."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch

from api_schemas.generation import FinishEvent, GenerationRequest, PromptEvent, TokensEvent
from editing.decoder import Decoder
from editing.projection import Version, frame
from tests.editing.tiny_models import CONFIGS, tiny_model, tiny_tokenizer
from workers.generation.decoding import MOST_ROWS, RequestDecoder
from workers.generation.sampling import generator_for, next_token

TOKENIZER = tiny_tokenizer()
PROMPTS = [TOKENIZER.encode(text).ids for text in ("The mother tongue of", "Lyon", "Toko Yasuda plays the guitar")]


def request(**fields: object) -> GenerationRequest:
    defaults = {"id": "r", "model": "tiny", "version": 0, "prompts": PROMPTS, "max_tokens": 6, "temperature": 0}
    return GenerationRequest.model_validate({**defaults, "deadline": time.time() + 60, **fields})


@pytest.fixture(params=sorted(CONFIGS))
def model(request: pytest.FixtureRequest) -> Iterator[tuple[torch.nn.Module, RequestDecoder]]:
    made = tiny_model(request.param)
    yield made, RequestDecoder(Decoder(made), TOKENIZER, frozenset())


def run(decoder: RequestDecoder, asked: GenerationRequest) -> dict[int, list[TokensEvent]]:
    found: dict[int, list[TokensEvent]] = {}
    for event in decoder.decode(asked, lambda: False):
        if isinstance(event, TokensEvent):
            found.setdefault(event.choice, []).append(event)
    return found


@torch.no_grad()
def greedy(model: torch.nn.Module, prompt: list[int], steps: int) -> tuple[list[int], list[float]]:
    ids, values = list(prompt), []
    for _ in range(steps):
        logprobs = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        ids.append(int(logprobs.argmax()))
        values.append(float(logprobs[ids[-1]]))
    return ids[len(prompt) :], values


def test_padded_rows_say_what_each_prompt_alone_says(model: tuple[torch.nn.Module, RequestDecoder]) -> None:
    plain, decoder = model
    found = run(decoder, request(logprobs=2))
    for number, prompt in enumerate(PROMPTS):
        tokens, values = greedy(plain, prompt, 6)
        infos = [info for event in found[number] for info in event.tokens]
        assert [info.id for info in infos] == tokens
        assert [info.logprob for info in infos] == pytest.approx(values, abs=1e-5)
        assert all(info.top is not None and len(info.top) >= 2 for info in infos)


def test_rows_see_the_version_of_the_frame_and_nothing_stays(model: tuple[torch.nn.Module, RequestDecoder]) -> None:
    plain, decoder = model
    before = run(decoder, request())
    projection = decoder.decoder.projections[2]
    matrix = projection.weight.detach() + torch.randn_like(projection.weight)
    with frame(Version({2: matrix})):
        edited = run(decoder, request())
    original = projection.weight.detach().clone()
    with torch.no_grad():
        projection.weight.copy_(matrix)
        merged = [greedy(plain, prompt, 6)[0] for prompt in PROMPTS]
        projection.weight.copy_(original)
    for number, tokens in enumerate(merged):
        text = "".join(event.text for event in edited[number])
        assert text == TOKENIZER.decode(PROMPTS[number] + tokens)[len(TOKENIZER.decode(PROMPTS[number])) :]
    assert run(decoder, request()) == before


def test_echoed_prompts_carry_the_log_probability_of_each_token(model: tuple[torch.nn.Module, RequestDecoder]) -> None:
    plain, decoder = model
    events = list(decoder.decode(request(echo=True, logprobs=0, max_tokens=0), lambda: False))
    prompts = [event for event in events if isinstance(event, PromptEvent)]
    assert [event.choice for event in prompts] == [0, 1, 2]
    assert [event.reason for event in events if isinstance(event, FinishEvent)] == ["length"] * 3
    for event, prompt in zip(prompts, PROMPTS, strict=True):
        logprobs = plain(torch.tensor([prompt])).logits[0].log_softmax(-1)
        expected = [float(logprobs[n, token]) for n, token in enumerate(prompt[1:])]
        assert event.tokens[0].logprob is None
        assert [info.logprob for info in event.tokens[1:]] == pytest.approx(expected, abs=1e-5)


def test_one_token_is_generated_even_if_it_ends_the_text() -> None:
    plain = tiny_model("llama")
    tokens, _ = greedy(plain, PROMPTS[0], 1)
    decoder = RequestDecoder(Decoder(plain), TOKENIZER, frozenset(tokens))
    events = list(decoder.decode(request(prompts=PROMPTS[:1], logprobs=1), lambda: False))
    (tokens_event, finish) = events
    assert isinstance(tokens_event, TokensEvent)
    assert (tokens_event.text, len(tokens_event.tokens)) == ("", 1)
    assert isinstance(finish, FinishEvent)
    assert finish.reason == "stop"


def test_a_seed_gives_the_same_text_whatever_else_is_asked() -> None:
    decoder = RequestDecoder(Decoder(tiny_model("llama")), TOKENIZER, frozenset())
    sampled = {"temperature": 1.0, "seed": 7, "max_tokens": 8}
    several = run(decoder, request(n=2, **sampled))
    assert several == run(decoder, request(n=2, **sampled))
    texts = ["".join(event.text for event in several[choice]) for choice in (0, 1)]
    assert texts[0] != texts[1]
    assert several != run(decoder, request(n=2, **{**sampled, "seed": 8}))


def test_more_rows_than_fit_are_served_in_turns() -> None:
    decoder = RequestDecoder(Decoder(tiny_model("gpt2")), TOKENIZER, frozenset())
    found = run(decoder, request(prompts=[PROMPTS[0]] * (MOST_ROWS + 3), max_tokens=2))
    assert sorted(found) == list(range(MOST_ROWS + 3))


def test_a_cancelled_request_ends_between_two_steps() -> None:
    decoder = RequestDecoder(Decoder(tiny_model("gpt2")), TOKENIZER, frozenset())
    events = list(decoder.decode(request(max_tokens=50), lambda: True))
    assert len([event for event in events if isinstance(event, TokensEvent)]) == len(PROMPTS)


def test_top_p_keeps_the_smallest_sufficient_set() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    generator = generator_for(0, 0)
    assert {next_token(logits, 1.0, 0.75, generator) for _ in range(200)} == {0, 1}
    assert {next_token(logits, 1.0, 0.4, generator) for _ in range(50)} == {0}
    assert next_token(logits, 0, 1.0, generator) == 0
