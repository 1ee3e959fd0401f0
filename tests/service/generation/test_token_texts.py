"""Single tokens as text and bytes, for the kinds of vocabularies that models have."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from service.generation.token_texts import TokenTexts


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    """GPT-2's kind: every byte has a symbol."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(["a lion"] * 9, BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    return made


@pytest.fixture(scope="module")
def byte_fallback() -> Tokenizer:
    """Llama's kind: spaces are written "▁", and bytes of unknown characters "<0xE6>"."""
    names = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "▁a", "li", "▁li"]
    vocabulary = {name: number for number, name in enumerate(names)}
    made = Tokenizer(models.BPE(vocabulary, [("▁", "a"), ("▁", "li")], byte_fallback=True, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(["<s>"])
    return made


def test_a_leading_space_is_a_part_of_the_token(byte_level: Tokenizer, byte_fallback: Tokenizer) -> None:
    for tokenizer, name in ((byte_level, "Ġlion"), (byte_fallback, "▁li")):
        token = tokenizer.token_to_id(name)
        assert TokenTexts(tokenizer).text(token) == " " + name[1:]
        assert bytes(TokenTexts(tokenizer).data(token) or []) == b" " + name[1:].encode()


def test_special_tokens_have_their_text(byte_fallback: Tokenizer) -> None:
    assert TokenTexts(byte_fallback).text(byte_fallback.token_to_id("<s>")) == "<s>"


def test_parts_of_characters_have_their_names_and_their_bytes(byte_level: Tokenizer, byte_fallback: Tokenizer) -> None:
    whole = "日".encode()
    for byte, (symbol, name) in zip(whole, (("æ", "<0xE6>"), ("Ĺ", "<0x97>"), ("¥", "<0xA5>")), strict=True):
        for tokenizer, written in ((byte_level, symbol), (byte_fallback, name)):
            token = tokenizer.token_to_id(written)
            assert TokenTexts(tokenizer).text(token) == written
            assert TokenTexts(tokenizer).data(token) == [byte]
