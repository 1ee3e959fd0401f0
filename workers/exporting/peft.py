"""`peft`: the lineage's deltas as one LoRA adapter on the edited projections, as `peft`, vLLM and SGLang load it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from workers.exporting.archive import ABOUT_FILE, CARD_FILE, ExportArchive
from workers.exporting.exported_version import ExportedVersion
from workers.exporting.lineage_factors import ENGINE_RANKS, lineage_factors, padded
from workers.exporting.model_card import model_card
from workers.exporting.safetensors_stream import PendingTensor, pending, stream

ADAPTER_PREFIX: Final = "base_model.model."
_USE: Final = """\
```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("{base}")
model = PeftModel.from_pretrained(base, "path/to/this/folder")
```

With vLLM: `vllm serve {base} --enable-lora --max-lora-rank {rank} --lora-modules {name}=path/to/this/folder`.
"""


def write_peft(version: ExportedVersion, to: Path) -> dict[str, Any]:
    """All layers get the same rank, by rows of zeros: not every engine reads a rank for each, and vLLM takes only some.

    Raises RankLimitError.
    """
    factors_by_layer, factors_report = lineage_factors(version, version.max_rank)
    rank = engine_rank(factors_report["rank"])
    report = {**version.about, **factors_report, "padded_rank": rank}
    tensors: list[PendingTensor] = []
    layers = list(factors_by_layer)
    for layer in layers:
        A, B = padded(factors_by_layer.pop(layer), rank)
        name = f"{ADAPTER_PREFIX}{version.model.decoder.projection_name(layer)}"
        tensors += [pending(f"{name}.lora_A.weight", A), pending(f"{name}.lora_B.weight", B)]
    with ExportArchive(to) as archive:
        archive.add_json("adapter_config.json", _config(version, layers, rank))
        archive.add_pieces("adapter_model.safetensors", stream(tensors, {"format": "pt"}))
        archive.add_json(ABOUT_FILE, report)
        use = _USE.format(base=version.base, rank=rank, name=version.about["version"])
        archive.add(CARD_FILE, model_card(version, "peft", use))
    return report


def engine_rank(rank: int) -> int:
    """The next rank that engines take; a rank above all of them stays as it is."""
    return next((one for one in ENGINE_RANKS if one >= rank), rank)


def _config(version: ExportedVersion, layers: Iterable[int], rank: int) -> dict[str, Any]:
    """α = r, so that the adapter adds B A as it is. Whole module names, so that no other module is meant."""
    decoder = version.model.decoder
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": version.base,
        "revision": version.model.source.get("revision"),
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "fan_in_fan_out": decoder.architecture.transposed,
        "target_modules": [decoder.projection_name(layer) for layer in layers],
    }
