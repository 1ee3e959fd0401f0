"""Where subject and target lie in a model's tokens, for byte-level and for SentencePiece-like tokenizers."""

from __future__ import annotations

import re

import pytest
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Metaspace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

from api_schemas.facts import Fact
from editing.subjects import FactTokensError, PromptTokens, check_length, context_tokens, fact_tokens, target_tokens

LINES = (
    "The mother tongue of Danielle Darrieux is French or English.",
    "Lyon, which is located in France! Hooray!, he says. Is Lyon in France? It is.",
    "Comic High!, created in Japan",
    "Zoë 🎻 plays the violin",
)


def byte_level(post: str = "$A") -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.post_processor = TemplateProcessing(single=post, special_tokens=[("<s>", 0), ("</s>", 1)])
    return tokenizer


def metaspace() -> Tokenizer:
    """As Llama 2's: a word's space belongs to it as "▁", a text's first word gets one too, and texts have a BOS."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "</s>", "<unk>"], initial_alphabet=list(",?!."), show_progress=False
    )
    tokenizer.train_from_iterator([re.sub("[,?!.]", "", line) for line in LINES], trainer)
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return tokenizer


def fact(
    prompt: str = "The mother tongue of {} is", subject: str = "Danielle Darrieux", target: str = "English"
) -> Fact:
    return Fact(prompt=prompt, subject=subject, target_new=target)


def text_up_to_subject(tokenizer: Tokenizer, tokens: PromptTokens) -> str:
    return tokenizer.decode(list(tokens.prompt[: tokens.subject_last + 1]))


@pytest.mark.parametrize("tokenizer", [byte_level(), byte_level("<s> $A"), metaspace()], ids=["bytes", "bos", "meta"])
@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("The mother tongue of {} is", "Danielle Darrieux"),
        ("{}, which is located in", "Lyon"),
        ("The violin of {}", "Zoë"),
        ("Is {}? It is", "Lyon in France"),
    ],
)
def test_the_subject_ends_where_its_last_token_does(tokenizer: Tokenizer, prompt: str, subject: str) -> None:
    tokens = fact_tokens(tokenizer, fact(prompt, subject))
    before = prompt.partition("{}")[0] + subject
    assert text_up_to_subject(tokenizer, tokens.bare) == before
    assert text_up_to_subject(tokenizer, tokens.continued).strip() == before
    assert text_up_to_subject(tokenizer, tokens.essence) == subject


def test_a_subject_of_several_tokens_to_a_character_ends_at_the_last_of_them() -> None:
    tokenizer = byte_level()
    tokens = fact_tokens(tokenizer, fact("{} is", "🎺", "English"))
    assert tokenizer.decode(list(tokens.bare.prompt[: tokens.bare.subject_last + 1])) == "🎺"
    assert tokens.bare.subject_last > 0


def test_bos_stands_before_a_bare_prompt_only() -> None:
    tokens = fact_tokens(byte_level("<s> $A"), fact())
    assert tokens.bare.prompt[0] == 0
    assert tokens.essence.prompt[0] == 0
    assert 0 not in tokens.continued.prompt


def test_what_a_post_processor_appends_is_not_part_of_a_text_that_goes_on() -> None:
    tokenizer = byte_level("<s> $A </s>")
    tokens = fact_tokens(tokenizer, fact())
    plain = fact_tokens(byte_level("<s> $A"), fact())
    assert tokens == plain
    assert 1 not in context_tokens(tokenizer, "The violin")


def test_a_prompt_after_a_text_has_the_tokens_of_the_joined_text() -> None:
    tokenizer = byte_level("<s> $A")
    tokens = fact_tokens(tokenizer, fact())
    joined = tokenizer.encode("He says Hooray. The mother tongue of Danielle Darrieux is").ids
    assert [*context_tokens(tokenizer, "He says Hooray"), *tokens.continued.prompt] == joined


@pytest.mark.parametrize(
    ("prompt", "target", "whole"),
    [
        ("{} speaks", "English", "Lyon speaks English"),
        ("{} speaks", " English", "Lyon speaks English"),
        ("{} speaks ", "English", "Lyon speaks English"),
    ],
)
def test_prompt_and_target_are_one_text(prompt: str, target: str, whole: str) -> None:
    tokenizer = byte_level()
    tokens = fact_tokens(tokenizer, fact(prompt, "Lyon", target)).bare
    assert tokenizer.decode([*tokens.prompt, *tokens.target]) == whole
    assert list(tokens.prompt) == tokenizer.encode(prompt.replace("{}", "Lyon")).ids


def test_a_targets_tokens_are_those_of_a_continuation() -> None:
    tokenizer = byte_level()
    prompt, target = target_tokens(tokenizer, "The mother tongue is", "French")
    assert [*prompt, *target] == tokenizer.encode("The mother tongue is French").ids


def test_a_subject_whose_last_token_holds_punctuation_too_ends_at_that_token() -> None:
    tokenizer = byte_level()
    assert "!," in tokenizer.encode("Comic High!, created in").tokens

    tokens = fact_tokens(tokenizer, fact("{}, created in", "Comic High!"))

    assert text_up_to_subject(tokenizer, tokens.bare) == "Comic High!,"
    assert text_up_to_subject(tokenizer, tokens.continued).strip() == "Comic High!,"
    assert (tokens.bare.is_shared, tokens.continued.is_shared, tokens.essence.is_shared) == (True, True, False)


@pytest.mark.parametrize(
    ("prompt", "subject"), [("The mother tongue of {} is", "Danielle"), ("{}, created in", "Lyon")]
)
def test_a_subject_with_a_last_token_of_its_own_shares_none(prompt: str, subject: str) -> None:
    tokens = fact_tokens(byte_level(), fact(prompt, subject))

    assert [one.is_shared for one in (tokens.bare, tokens.continued, tokens.essence)] == [False, False, False]


def test_a_subject_merged_with_letters_that_follow_is_refused() -> None:
    with pytest.raises(FactTokensError, match=r"'Fren' ends inside the token '.*French' of prompt 'He is French'") as e:
        fact_tokens(byte_level(), fact("He is {}ch", "Fren"))
    assert e.value.field == "subject"
    assert "make that part of the subject" in e.value.message


def test_a_subject_that_the_tokenizer_drops_is_refused() -> None:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.train_from_iterator(LINES, BpeTrainer(vocab_size=200, show_progress=False))
    with pytest.raises(FactTokensError, match="has no token of its own") as e:
        fact_tokens(tokenizer, fact("{} is", "日本"))
    assert e.value.field == "subject"


def test_a_fact_longer_than_the_model_reads_is_refused() -> None:
    tokens = fact_tokens(byte_level(), fact())
    longest = max(tokens.bare.length, tokens.continued.length)
    check_length(tokens, longest)
    with pytest.raises(FactTokensError, match="shorten the prompt") as e:
        check_length(tokens, longest - 1)
    assert e.value.field == "prompt"
    with pytest.raises(FactTokensError, match="5 of them for what is put before them"):
        check_length(tokens, tokens.bare.length, reserve=5)
