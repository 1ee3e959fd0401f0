"""Context texts are sampled from the model itself, reproducibly, and can be given back in."""

from __future__ import annotations

import pytest
import torch

from editing.model.decoder import Decoder
from editing.readings.continuations import sampled_texts
from editing.values.contexts import OPENINGS, TOP_K, context_opening, contexts_from_texts, sample_contexts
from tests.support.tiny_models import CONFIGS, VOCABULARY, tiny_model, tiny_tokenizer


@pytest.mark.parametrize("name", CONFIGS)
def test_a_seed_gives_the_same_texts_again_and_another_seed_others(name: str) -> None:
    decoder, tokenizer = Decoder(tiny_model(name, torch.float32)), tiny_tokenizer(bos=True)
    first = sample_contexts(decoder, {}, tokenizer, 7, length=6, seed=1)
    assert len(first) == 7
    assert sample_contexts(decoder, {}, tokenizer, 7, length=6, seed=1) == first
    assert sample_contexts(decoder, {}, tokenizer, 7, length=6, seed=2) != first


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral"])
def test_texts_are_those_of_a_plain_sampling_of_whole_sequences(name: str) -> None:
    """One pass over everything for each token, with the same draws."""
    tokenizer, model = tiny_tokenizer(bos=True), tiny_model(name)
    number, length = 7, 6
    sequences = [context_opening(tokenizer, OPENINGS[n % len(OPENINGS)]) for n in range(number)]
    generator = torch.Generator().manual_seed(4)
    while any(len(sequence) - 1 < length for sequence in sequences):
        shares = torch.zeros(number, TOP_K, dtype=torch.float64)
        tokens = torch.zeros(number, TOP_K, dtype=torch.long)
        for n, sequence in enumerate(sequences):
            logits = model(torch.tensor([sequence])).logits[0, -1].double()
            logits[[0, 1]] = -torch.inf
            best = logits.topk(TOP_K)
            shares[n], tokens[n] = best.values.softmax(-1), best.indices
        chosen = tokens.gather(1, torch.multinomial(shares, 1, generator=generator))[:, 0].tolist()
        for sequence, token in zip(sequences, chosen, strict=True):
            if len(sequence) - 1 < length:
                sequence.append(token)
    sampled = sample_contexts(Decoder(tiny_model(name)), {}, tokenizer, number, length=length, seed=4)
    plain = [tokenizer.decode(sequence).replace("{", " ").replace("}", " ") for sequence in sequences]
    assert [one.text for one in sampled] == [" ".join(text.split()).rstrip(" .") for text in plain]


def test_texts_recorded_are_the_same_contexts_again() -> None:
    decoder, tokenizer = Decoder(tiny_model("llama", torch.float32)), tiny_tokenizer(bos=True)
    contexts = sample_contexts(decoder, {}, tokenizer, 5, seed=3)
    assert contexts_from_texts(tokenizer, [context.text for context in contexts]) == contexts
    for context in contexts:
        assert context.tokens[0] == 0
        assert tokenizer.decode(list(context.tokens)) == context.text + "."
        assert "{" not in context.text


def test_the_version_asked_for_is_sampled_from() -> None:
    decoder, tokenizer = Decoder(tiny_model("llama", torch.float32)), tiny_tokenizer()
    changed = {2: torch.randn_like(decoder.projections[2].weight)}
    assert sample_contexts(decoder, changed, tokenizer, 5) != sample_contexts(decoder, {}, tokenizer, 5)


def test_a_control_token_that_the_model_has_no_logit_for_changes_nothing() -> None:
    """As where a tokenizer was given a token for padding and the model was not resized."""
    decoder, tokenizer = Decoder(tiny_model("llama", torch.float32)), tiny_tokenizer(bos=True)
    tokenizer.add_special_tokens([f"<{n}>" for n in range(VOCABULARY - tokenizer.get_vocab_size())])
    contexts = sample_contexts(decoder, {}, tokenizer, 3)
    texts = sampled_texts(decoder, {}, tokenizer, [(5, 9)], [6], seed=7)
    tokenizer.add_special_tokens(["<pad>"])
    assert tokenizer.token_to_id("<pad>") == VOCABULARY
    assert sample_contexts(decoder, {}, tokenizer, 3) == contexts
    assert sampled_texts(decoder, {}, tokenizer, [(5, 9)], [6], seed=7) == texts


def test_no_contexts_are_none() -> None:
    assert sample_contexts(Decoder(tiny_model("gpt2")), {}, tiny_tokenizer(), 0) == ()
