"""Held-out text read in portions is read as it is whole, whatever was kept of it before."""

from __future__ import annotations

import random

import pytest
import torch

from editing.errors import EditInterrupted
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.model.token_sequences import TokenSequences
from editing.readings import held_out_text
from editing.readings.held_out_text import UNREAD, HeldOutText
from editing.readings.perplexity import held_out_reading
from tests.support.tiny_models import VOCABULARY, tiny_model

LENGTHS = [1, 9, 17, 30, 30, 30, 2, 21, 14, 30, 30, 8]


def texts() -> TokenSequences:
    source = random.Random(0)
    return TokenSequences.of([[source.randrange(VOCABULARY - 20) for _ in range(length)] for length in LENGTHS])


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out_text, "PORTION_TOKENS", 40)


def edited(decoder: Decoder, *layers: int) -> Matrices:
    return {layer: decoder.projections[layer].weight * (1.5 + layer / 10) for layer in layers}


@pytest.mark.parametrize(("name", "stream_bytes"), [("llama", 0), ("gpt2", 25_000), ("mistral", 10**9)])
def test_every_way_of_reading_gives_what_reading_all_at_once_gives(name: str, stream_bytes: int) -> None:
    decoder = Decoder(tiny_model(name))
    text = HeldOutText(decoder, texts(), stream_bytes)
    for layers in [(2, 3), (), (1, 3), (2,)]:
        version = edited(decoder, *layers)
        plain = held_out_reading(decoder, version, text.texts)
        reading, portions = UNREAD, 0
        while len(reading.tokens) < len(text):
            reading = text.read_on(version, reading)
            portions += 1
        assert portions > 3
        assert reading.tokens == plain.tokens == text.predicted
        assert reading.log_likelihoods == pytest.approx(plain.log_likelihoods, rel=1e-9)
        assert text.read_on(version, reading) == reading
        assert text.read_all(version).log_likelihoods == pytest.approx(plain.log_likelihoods, rel=1e-9)
        some = text.read_to(version, text.read_on(version), 7)
        assert some.log_likelihoods == pytest.approx(plain.log_likelihoods[:7], rel=1e-9)
        assert (some.tokens, text.read_to(version, reading, 7).tokens) == (plain.tokens[:7],) * 2
    assert sum(stream.nbytes for stream in text._streams.values()) <= stream_bytes


def test_what_lies_below_the_edited_layers_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(tiny_model("llama"))
    text = HeldOutText(decoder, texts(), 10**9)
    run: list[tuple[int, int]] = []
    whole = decoder.run_layers

    def counted(
        hidden: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, first: int, last: int
    ) -> torch.Tensor:
        run.append((first, last))
        return whole(hidden, positions, mask, first, last)

    monkeypatch.setattr(decoder, "run_layers", counted)
    text.read_on(edited(decoder, 2))
    text.read_on({})
    text.read_on(edited(decoder, 2, 3))
    text.read_on(edited(decoder, 1))
    assert run == [(0, 2), (2, 4), (2, 4), (2, 4), (0, 1), (1, 4)]


def test_the_order_is_seeded_and_the_identity_tells_texts_apart() -> None:
    decoder = Decoder(tiny_model("llama"))
    one, again = HeldOutText(decoder, texts()), HeldOutText(decoder, texts())
    assert one.texts.flat.tolist() == again.texts.flat.tolist() != texts().flat.tolist()
    assert sorted(one.texts.lengths.tolist()) == sorted(LENGTHS)
    other = HeldOutText(decoder, TokenSequences.of([[1, 2, 3], [4, 5]]))
    in_float32 = HeldOutText(Decoder(tiny_model("llama", torch.float32)), texts())
    assert one.identity == again.identity
    assert len({one.identity, other.identity, in_float32.identity}) == 3


def test_reading_stops_as_it_is_told() -> None:
    decoder = Decoder(tiny_model("llama"))
    with pytest.raises(EditInterrupted):
        HeldOutText(decoder, texts()).read_all({}, lambda: True)
