"""Sliding windows: what a token sees counts tokens, wherever their slots are; what is not done right is refused."""

from __future__ import annotations

import pytest
import torch

from editing.errors import UnsupportedModelError
from editing.methods import EditSettings
from editing.model.decoder import Decoder
from editing.model.decoding import continue_prompts
from editing.model.prefix import PrefixCache
from editing.model.windows import narrowed
from editing.values.optimisation import optimise_values
from tests.support import plain
from tests.support.tiny_models import VOCABULARY, WINDOW, tiny_groups, tiny_model, tiny_tokenizer

NO, YES = torch.finfo(torch.float32).min, 0.0
TOKENS = torch.arange(2 * 24).reshape(2, 24) * 7 % VOCABULARY


def decoded(decoder: Decoder) -> torch.Tensor:
    positions = torch.arange(TOKENS.shape[1]).expand(TOKENS.shape)
    hidden = decoder.embed(TOKENS, positions)
    return decoder.logits(decoder.run_layers(hidden, positions, None, 0, len(decoder.layers)))


def test_a_window_counts_the_tokens_that_are_seen_not_their_slots() -> None:
    mask = torch.tensor([[YES, YES, NO, NO, YES, NO], [YES, YES, NO, NO, YES, YES], [NO, YES, YES, YES, NO, YES]])
    seen = (narrowed(mask, 3) == YES).int().tolist()
    assert seen == [[1, 1, 0, 0, 1, 0], [0, 1, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1]]
    assert (narrowed(mask, 1) == YES).sum(-1).tolist() == [1, 1, 1]
    assert narrowed(mask, None) is mask
    assert narrowed(mask, 6) is mask


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("window", [None, 1, 2, 23, 24, 100])
def test_every_width_of_a_window_is_transformers_own(window: int | None, attention: str) -> None:
    model = tiny_model("mistral", attention=attention, sliding_window=window)
    with torch.no_grad():
        torch.testing.assert_close(decoded(Decoder(model)), model(input_ids=TOKENS).logits, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("overrides", "windows"),
    [
        ({}, [None, None, 5, 5]),
        ({"layer_types": ["sliding_attention", "full_attention"] * 2}, [5, None, 5, None]),
        ({"layer_types": ["full_attention"] * 4, "sliding_window": None}, [None] * 4),
    ],
)
def test_windows_by_layer_type_are_transformers_own(overrides: dict[str, object], windows: list[int | None]) -> None:
    model = tiny_model("qwen2", **overrides)
    decoder = Decoder(model)
    assert decoder.windows == tuple(windows)
    with torch.no_grad():
        torch.testing.assert_close(decoded(decoder), model(input_ids=TOKENS).logits, rtol=1e-9, atol=1e-9)


def test_rows_of_one_length_grow_past_the_window() -> None:
    prompts = [(5, 9, 300, 7), (17, 3, 99, 4), (40, 41, 42, 43)]
    model = tiny_model("mistral")
    expected = [plain.greedy(model, prompt, 3 * WINDOW) for prompt in prompts]
    found = continue_prompts(
        Decoder(tiny_model("mistral")), prompts, [3 * WINDOW] * 3, lambda logits, _: logits.argmax(-1)
    )
    assert found == expected


def test_over_a_cache_a_mask_must_be_given() -> None:
    decoder = Decoder(tiny_model("mistral"))
    positions = torch.arange(3)[None]
    hidden = decoder.embed(TOKENS[:1, :3], positions)
    with pytest.raises(ValueError, match="needs a mask"):
        decoder.run_layers(hidden, positions, None, 0, 4, PrefixCache([]))


@pytest.mark.parametrize(
    ("name", "field", "value", "told"),
    [
        (
            "qwen2",
            "sliding_window",
            None,
            r"qwen2 model with layer_types=.*'sliding_attention' with sliding_window=None",
        ),
        ("qwen2", "layer_types", ["chunked_attention"] * 4, r"qwen2 model with layer_types=\['chunked_attention'"),
        ("gemma2", "use_bidirectional_attention", True, r"gemma2 model with use_bidirectional_attention=True cannot"),
        ("mistral", "sliding_window", 0, r"mistral model with sliding_window=0 cannot be edited"),
        (
            "mistral",
            "layer_types",
            ["full_attention"] * 4,
            r"mistral model with layer_types=\['full_attention'.*same att",
        ),
    ],
)
def test_windows_that_are_not_known_are_refused(name: str, field: str, value: object, told: str) -> None:
    model = tiny_model(name)
    setattr(model.config, field, value)
    with pytest.raises(UnsupportedModelError, match=told):
        Decoder(model)


def test_a_window_that_the_masks_do_not_have_is_refused_when_values_are_sought() -> None:
    """As where a later transformers gives a family windows that its row does not tell of."""
    decoder = Decoder(tiny_model("mistral"))
    decoder.windows = (None,) * 4
    tokenizer = tiny_tokenizer()
    with pytest.raises(UnsupportedModelError, match="layer 2 has a sliding window of 5, not of None as known"):
        optimise_values(decoder, {}, tiny_groups(tokenizer), (), EditSettings(layers=(1,), steps=1))
