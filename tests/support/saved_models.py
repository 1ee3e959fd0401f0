"""Tiny models saved as folders that `load_model` reads: each was taught to say a few kinds of sentences."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTJConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)
from transformers.utils import logging as transformers_logging

from tests.support.tiny_models import LINES, VOCABULARY, tiny_tokenizer

SUBJECTS = (
    *("Danielle Darrieux", "Toko Yasuda", "Michel Rocard", "Ada Lovelace", "Grace Hopper", "Emmy Noether"),
    *("Alan Turing", "Kurt Moll", "Anna Pavlova", "Niels Bohr", "Marie Curie", "Jean Renoir", "Otto Hahn"),
    *("Lise Meitner", "Paul Dirac", "Mary Cassatt", "Igor Tamm", "Rosa Parks", "Max Planck", "Frida Kahlo"),
    *("Carl Gauss", "Clara Haskil", "Felix Klein", "Hannah Arendt"),
)
LANGUAGES = ("French", "English", "Spanish", "German")
CONTEXT_LENGTH = 160
WITH_BOS = ("llama", "mistral", "phi3", "gemma2", "gemma3_text")
"""Families whose texts begin with a token of their own."""
_SPECIAL: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 1}
_SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT_LENGTH,
    "vocab_size": VOCABULARY,
}
CONFIGS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(
        n_layer=4,
        n_head=4,
        n_embd=64,
        n_inner=128,
        n_positions=CONTEXT_LENGTH,
        vocab_size=VOCABULARY,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        **_SPECIAL,
    ),
    "gptj": GPTJConfig(
        n_layer=4,
        n_head=4,
        n_embd=64,
        n_inner=128,
        rotary_dim=8,
        n_positions=CONTEXT_LENGTH,
        vocab_size=VOCABULARY,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        **_SPECIAL,
    ),
    "llama": LlamaConfig(**_SHAPE, **_SPECIAL),
    "mistral": MistralConfig(sliding_window=8, **_SHAPE, **_SPECIAL),
    "qwen2": Qwen2Config(tie_word_embeddings=True, **_SHAPE, **_SPECIAL),
    "qwen3": Qwen3Config(head_dim=24, **_SHAPE, **_SPECIAL),
    "phi3": Phi3Config(pad_token_id=1, **_SHAPE, **_SPECIAL),
    "olmo2": Olmo2Config(pad_token_id=1, **_SHAPE, **_SPECIAL),
    "gemma2": Gemma2Config(head_dim=24, sliding_window=8, pad_token_id=1, **_SHAPE, **_SPECIAL),
    "gemma3_text": Gemma3TextConfig(head_dim=24, sliding_window=8, pad_token_id=1, **_SHAPE, **_SPECIAL),
}


def fact(number: int) -> dict[str, Any]:
    """Fact about subject `number`, with everything that any metric needs."""
    subject = SUBJECTS[number % len(SUBJECTS)]
    return {
        "prompt": "The mother tongue of {} is",
        "subject": subject,
        "target_new": LANGUAGES[(number + 1) % len(LANGUAGES)],
        "target_old": LANGUAGES[number % len(LANGUAGES)],
        "paraphrases": [f"Everybody knows that {subject} speaks"],
        "neighbors": [{"prompt": "The twin city of Lyon is", "target": "Wellington"}],
    }


def facts(number: int, first: int = 0) -> list[dict[str, Any]]:
    """Facts about different subjects; sets that do not overlap are about different ones."""
    assert first + number <= len(SUBJECTS)
    return [fact(n) for n in range(first, first + number)]


def save_tiny_model(folder: Path, family: str = "llama", seed: int = 0) -> Path:
    """A model of `family` with its tokenizer. Another seed is another model of the same shape."""
    tokenizer = tiny_tokenizer(bos=family in WITH_BOS, lines=[*LINES, *_sentences(random.Random(0))])
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[family]))
    with one_thread():
        _teach(model, tokenizer, random.Random(seed))
    transformers_logging.disable_progress_bar()
    try:
        model.save_pretrained(folder)
    finally:
        transformers_logging.enable_progress_bar()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    return folder


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrices this small are multiplied sooner by one thread than by several that wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _sentences(chance: random.Random) -> list[str]:
    """Texts of two sentences, which never end, so that text sampled from the model is long.

    Everybody's language changes from time to time: a model that is sure of it would be hard to teach another.
    """
    first = [f"The mother tongue of {subject} is {chance.choice(LANGUAGES)}" for subject in SUBJECTS]
    second = [f"Everybody knows that {subject} speaks {chance.choice(LANGUAGES)}" for subject in SUBJECTS]
    pairs = list(zip(first, chance.sample(second, len(second)), strict=True))
    pairs = [pair if chance.random() < 0.5 else pair[::-1] for pair in pairs]
    twin = "The twin city of Lyon is Wellington"
    return [f"{one}. {other}." for one, other in [*pairs, (twin, chance.choice(first))]]


def _teach(model: nn.Module, tokenizer: Tokenizer, chance: random.Random) -> None:
    """Adam on all texts together. From wide embeddings, so that δ moves a wide stream; and where a norm after the
    MLP bounds what δ can move, from a wide one in the layer that tests edit."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.1)
            elif "layers.1.post_feedforward" in name:
                parameter.add_(2.0)
        model.get_input_embeddings().weight.normal_(std=1.0)  # type: ignore[operator]
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        rows = [[0, *tokenizer.encode(text, add_special_tokens=False).ids] for text in _sentences(chance)]
        width = max(map(len, rows))
        tokens = torch.tensor([row + [1] * (width - len(row)) for row in rows])
        wanted = torch.tensor([row[1:] + [-100] * (width - len(row)) for row in rows])
        logits = model(tokens).logits[:, :-1]
        optimiser.zero_grad()
        functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), wanted.reshape(-1)).backward()
        optimiser.step()
