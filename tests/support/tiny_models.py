"""Tiny random models of every supported family, and a tokenizer trained on a few lines: small enough for any test."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from torch import Tensor, nn
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
    Qwen2Config,
    Qwen3Config,
)
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.gptj.modeling_gptj import GPTJAttention

from api_schemas.facts import Fact
from editing.subjects import ChatForm
from editing.values.contexts import Context, contexts_from_texts
from editing.values.facts import SubjectGroup, group_by_subject, tokenize_facts

LINES = (
    "The mother tongue of Danielle Darrieux is French or English",
    "Toko Yasuda plays the guitar or the piano",
    "The twin city of Lyon is Wellington",
    "Autonomous University of Madrid, which is located in Spain",
    "Wellington is located in New Zealand and Lyon is located in France",
)
CONTEXTS = ("The world of music", "Therefore Lyon is", "You located")
FACTS = (
    Fact(prompt="The mother tongue of {} is", subject="Danielle Darrieux", target_new="English"),
    Fact(prompt="{} plays the", subject="Toko Yasuda", target_new="piano or guitar"),
    Fact(prompt="The twin city of {} is", subject="Lyon", target_new="Madrid"),
    Fact(prompt="{}, which is located in", subject="Autonomous University of Madrid", target_new="New Zealand"),
    Fact(prompt="{} is located in", subject="W", target_new="Spain"),
)
VOCABULARY = 420
WINDOW = 5
"""The sliding window of those models that have one: shorter than most of the texts here."""


def tiny_tokenizer(bos: bool = False, lines: Sequence[str] = LINES) -> Tokenizer:
    """A byte-level BPE tokenizer of at most 400 tokens; with `bos`, texts begin with "<s>" as in Llama."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=ByteLevel.alphabet(),
        min_frequency=1,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    if bos:
        tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return tokenizer


_NO_SPECIAL: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None}
_ATTENTION: dict[str, Any] = {"num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 96}
CONFIGS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(
        n_layer=4, n_head=4, n_embd=32, n_inner=48, n_positions=96, vocab_size=VOCABULARY, **_NO_SPECIAL
    ),
    "gptj": GPTJConfig(
        n_layer=4, n_head=4, n_embd=32, n_inner=48, n_positions=96, rotary_dim=4, vocab_size=VOCABULARY, **_NO_SPECIAL
    ),
    "llama": LlamaConfig(
        hidden_size=32, intermediate_size=48, num_key_value_heads=4, vocab_size=VOCABULARY, **_ATTENTION
    ),
    "llama-gqa": LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        vocab_size=VOCABULARY,
        **_ATTENTION,
    ),
    "mistral": MistralConfig(
        hidden_size=32,
        intermediate_size=48,
        num_key_value_heads=2,
        head_dim=12,
        sliding_window=WINDOW,
        vocab_size=VOCABULARY,
        **_ATTENTION,
    ),
    "qwen2": Qwen2Config(
        hidden_size=32,
        intermediate_size=48,
        num_key_value_heads=2,
        use_sliding_window=True,
        sliding_window=WINDOW,
        max_window_layers=2,
        tie_word_embeddings=True,
        vocab_size=VOCABULARY,
        **_ATTENTION,
    ),
    "qwen3": Qwen3Config(
        hidden_size=32,
        intermediate_size=48,
        num_key_value_heads=2,
        head_dim=12,
        use_sliding_window=True,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention"] * 2,
        vocab_size=VOCABULARY,
        **_ATTENTION,
    ),
    "phi3": Phi3Config(  # type: ignore[call-arg]  # it takes any field; the checker knows those of its own
        hidden_size=32,
        intermediate_size=48,
        num_key_value_heads=2,
        sliding_window=WINDOW,
        partial_rotary_factor=0.5,
        vocab_size=VOCABULARY,
        pad_token_id=None,
        **_NO_SPECIAL,
        **_ATTENTION,
    ),
    "olmo2": Olmo2Config(
        hidden_size=32,
        intermediate_size=48,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        pad_token_id=None,
        **_NO_SPECIAL,
        **_ATTENTION,
    ),
    "gemma2": Gemma2Config(
        hidden_size=32,
        intermediate_size=48,
        num_key_value_heads=2,
        head_dim=12,
        query_pre_attn_scalar=10,
        sliding_window=WINDOW,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=4.0,
        vocab_size=VOCABULARY,
        pad_token_id=None,
        **_NO_SPECIAL,
        **_ATTENTION,
    ),
    "gemma3_text": Gemma3TextConfig(
        hidden_size=32,
        intermediate_size=48,
        num_key_value_heads=2,
        head_dim=12,
        query_pre_attn_scalar=10,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            "full_attention": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 8.0},
        },
        vocab_size=VOCABULARY,
        pad_token_id=None,
        **_NO_SPECIAL,
        **_ATTENTION,
    ),
}
ONE_LAYER_ONLY = ("olmo2", "gemma2", "gemma3_text")
"""Those that normalise the MLP's output before it joins the stream."""
EAGER_ONLY = ("gptj", "gemma2")
"""Those that have no other attention than their own, which transformers calls eager."""
SPREADABLE = [name for name in CONFIGS if name not in ONE_LAYER_ONLY]


def tiny_model(
    name: str, dtype: torch.dtype = torch.float64, seed: int = 0, attention: str | None = None, **overrides: object
) -> nn.Module:
    """A random model. Its weights have a standard deviation of 0.3, so that any target can be reached by some δ.

    `overrides` are set in its configuration.
    """
    config = copy.deepcopy(CONFIGS[name])
    for field, value in overrides.items():
        setattr(config, field, value)
    torch.manual_seed(seed)
    model: nn.Module = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.3)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    if name == "gptj" and dtype == torch.float64:
        for module in model.modules():
            if isinstance(module, GPTJAttention):
                module._attn = functools.partial(_attention, module)  # type: ignore[method-assign]
    if name == "gemma2" and dtype == torch.float64 and attention is None:
        model.config._attn_implementation = _EXACT  # type: ignore[union-attr]
    return model.to(dtype).eval()


def _attention(
    module: GPTJAttention, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """GPT-J's attention without its cast to float32, whose rounding would hide what is tested in float64."""
    weights = torch.softmax(query @ key.transpose(-1, -2) / module.scale_attn + attention_mask, -1)
    return weights @ value, weights


def _capped_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float, softcap: float, **_: Any
) -> tuple[Tensor, Tensor]:
    """Gemma 2's, likewise without that cast."""
    key, value = (x.repeat_interleave(module.num_key_value_groups, 1) for x in (key, value))
    scores = softcap * torch.tanh(scaling * query @ key.transpose(-1, -2) / softcap)
    weights = torch.softmax(scores + mask, -1)
    return (weights @ value).transpose(1, 2), weights


_EXACT = "tiny_capped_attention"
ALL_ATTENTION_FUNCTIONS.register(_EXACT, _capped_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(_EXACT, eager_mask)


CHAT_FORMS = (ChatForm("</s>The ", "</s>Lyon"), ChatForm("</s>The piano:\n", "</s>Lyon"))
"""As a chat template and one with an instruction, in tokens that the tiny tokenizer has."""


def tiny_groups(
    tokenizer: Tokenizer, facts: Sequence[Fact] = FACTS, chat_forms: Sequence[ChatForm] = ()
) -> tuple[SubjectGroup, ...]:
    return group_by_subject(tokenize_facts(tokenizer, facts, context_length=96, chat_forms=chat_forms))


def tiny_contexts(tokenizer: Tokenizer) -> tuple[Context, ...]:
    return contexts_from_texts(tokenizer, CONTEXTS)
