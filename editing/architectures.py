"""Table of the supported architectures: where the parts of each model family lie. A new architecture is one new row of
`ARCHITECTURES`.

Only what differs between families is data here; how the parts are run is `editing.model.decoder`. It imports no torch:
whether a family is supported is said before anything of a model is fetched, also by processes that hold none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from editing.errors import UnsupportedModelError


@dataclass(frozen=True)
class Architecture:
    """Module paths of one model family, relative to the `*ForCausalLM` model unless said otherwise.

    `projection` is the linear map W (d_out, d_in) that writes the MLP's output into the residual stream, relative
    to a decoder layer; `transposed` says that it is stored as (d_in, d_out) (GPT-2's Conv1D).
    `positions` is a learned position embedding added to the token embedding, `rotary` a module that gives (cos, sin)
    to every layer, others for each of the configuration's `layer_types` with `rotary_by_layer_type`, and
    `cache_argument` what a layer calls its key-value cache. `attention` is a layer's attention module;
    `attention_method` names its method that computes attention, where transformers' interface does not.
    `windows` says where the configuration has the layers' sliding windows: one `sliding_window` for "every layer" if it
    is set, or for the layers that `layer_types` names ("by layer type").
    `softcap` is the field of the configuration beyond whose value logits are bent towards it, where it is set.
    `norm_after_mlp` says that the MLP's output is normalised before it joins the stream, so that a change of W's
    output is not a change of the stream: editing several layers at once is refused there.
    """

    model_type: str
    layers: str
    projection: str
    embedding: str
    final_norm: str
    attention: str
    head: str = "lm_head"
    positions: str | None = None
    rotary: str | None = None
    rotary_by_layer_type: bool = False
    transposed: bool = False
    cache_argument: str = "past_key_values"
    attention_method: str | None = None
    windows: Literal["none", "every layer", "by layer type"] = "none"
    softcap: str | None = None
    norm_after_mlp: bool = False

    @property
    def mlp(self) -> str:
        """A layer's MLP, the module that the projection is part of."""
        return self.projection.rpartition(".")[0]


_LLAMA = Architecture(
    "llama",
    layers="model.layers",
    projection="mlp.down_proj",
    embedding="model.embed_tokens",
    final_norm="model.norm",
    attention="self_attn",
    rotary="model.rotary_emb",
)

ARCHITECTURES: dict[str, Architecture] = {
    row.model_type: row
    for row in (
        Architecture(
            "gpt2",
            layers="transformer.h",
            projection="mlp.c_proj",
            embedding="transformer.wte",
            positions="transformer.wpe",
            final_norm="transformer.ln_f",
            attention="attn",
            transposed=True,
        ),
        Architecture(
            "gptj",
            layers="transformer.h",
            projection="mlp.fc_out",
            embedding="transformer.wte",
            final_norm="transformer.ln_f",
            attention="attn",
            cache_argument="layer_past",
            attention_method="_attn",
        ),
        _LLAMA,
        replace(_LLAMA, model_type="mistral", windows="every layer"),
        replace(_LLAMA, model_type="qwen2", windows="by layer type"),
        replace(_LLAMA, model_type="qwen3", windows="by layer type"),
        replace(_LLAMA, model_type="phi3", windows="every layer"),
        replace(_LLAMA, model_type="olmo2", norm_after_mlp=True),
        replace(
            _LLAMA,
            model_type="gemma2",
            windows="by layer type",
            softcap="final_logit_softcapping",
            norm_after_mlp=True,
        ),
        replace(
            _LLAMA,
            model_type="gemma3_text",
            rotary_by_layer_type=True,
            windows="by layer type",
            softcap="final_logit_softcapping",
            norm_after_mlp=True,
        ),
    )
}


def architecture_of(model: object) -> Architecture:
    """The row for `model`, by its `config.model_type`. Raises UnsupportedModelError naming the families that work."""
    return architecture_named(str(getattr(getattr(model, "config", None), "model_type", type(model).__name__)))


def architecture_named(model_type: str) -> Architecture:
    """The row for the `model_type` of a configuration. Raises UnsupportedModelError naming the families that work."""
    try:
        return ARCHITECTURES[model_type]
    except KeyError:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UnsupportedModelError(
            f"model type {model_type!r} cannot be edited; supported: {known}. "
            "To add a family, add its row to editing/architectures.py"
        ) from None
