"""Text comes out as it becomes certain: whole characters, never a part of a stop string."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from workers.generation.detokenizer import Detokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """One token for each byte."""
    alphabet = sorted(ByteLevel.alphabet())
    made = Tokenizer(BPE({symbol: number for number, symbol in enumerate(alphabet)}, []))
    made.pre_tokenizer = ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def pieces(tokenizer: Tokenizer, text: str, stop: list[str]) -> tuple[list[str], Detokenizer]:
    stream = Detokenizer(tokenizer, tokenizer.encode("prompt").ids, stop)
    shown = []
    for token in tokenizer.encode(text).ids:
        shown.append(stream.push(token))
        if stream.stopped:
            return shown, stream
    return [*shown, stream.finish()], stream


def test_all_text_comes_out_in_order(tokenizer: Tokenizer) -> None:
    shown, _ = pieces(tokenizer, "Paris, of course. " * 5, [])
    assert "".join(shown) == "Paris, of course. " * 5
    assert shown[0] == "P"


def test_characters_of_several_tokens_come_out_whole(tokenizer: Tokenizer) -> None:
    shown, _ = pieces(tokenizer, "naïve 日本 🙂!", [])
    assert "".join(shown) == "naïve 日本 🙂!"
    assert not any("\ufffd" in piece for piece in shown)


def test_a_stop_string_over_several_tokens_is_never_shown(tokenizer: Tokenizer) -> None:
    shown, stream = pieces(tokenizer, "one\n\nQ: two", ["\n\nQ:"])
    assert stream.stopped
    assert "".join(shown) == "one"


def test_what_only_began_like_a_stop_string_is_shown_after_all(tokenizer: Tokenizer) -> None:
    shown, stream = pieces(tokenizer, "a\n\nB\n", ["\n\nQ:"])
    assert not stream.stopped
    assert "".join(shown) == "a\n\nB\n"


def test_the_earliest_of_several_stop_strings_counts(tokenizer: Tokenizer) -> None:
    shown, _ = pieces(tokenizer, "alpha beta gamma", ["gamma", "beta", "zeta"])
    assert "".join(shown) == "alpha "


def test_a_broken_character_at_the_end_is_shown_as_such(tokenizer: Tokenizer) -> None:
    stream = Detokenizer(tokenizer, [], [])
    shown = [stream.push(token) for token in tokenizer.encode("ok日").ids[:-1]]
    assert "".join([*shown, stream.finish()]).startswith("ok")
