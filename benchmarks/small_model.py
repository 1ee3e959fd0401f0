"""A small model with random weights and facts for it, for benchmarks of everything but the model."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

HIDDEN, INNER, CONTEXT_LENGTH, VOCABULARY = 128, 256, 128, 512
_SYLLABLES: Final = ("ka", "lo", "mi", "ne", "ru", "sa", "ti", "vo", "we", "zu", "ba", "do")


def names() -> list[str]:
    """20,736 subjects of two words each, in an order without pattern."""
    words = ["".join(pair).capitalize() for pair in itertools.product(_SYLLABLES, repeat=2)]
    found = [" ".join(pair) for pair in itertools.product(words, repeat=2)]
    random.Random(0).shuffle(found)
    return found


def facts_of(subjects: list[str]) -> list[dict[str, Any]]:
    targets = ("French", "English", "Spanish", "German")
    return [
        {"prompt": "The mother tongue of {} is", "subject": subject, "target_new": targets[number % len(targets)]}
        for number, subject in enumerate(subjects)
    ]


def save_model(folder: Path) -> Path:
    """A Llama of four layers with random weights, and a tokenizer for its sentences."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    sentences = [fact["prompt"].format(fact["subject"]) + f" {fact['target_new']}." for fact in facts_of(names()[:500])]
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_LENGTH,
        vocab_size=VOCABULARY,
        bos_token_id=0,
        eos_token_id=1,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    return folder
