"""`gguf-lora`: the lineage's deltas as a LoRA adapter in GGUF, for llama.cpp and, with a Modelfile, for Ollama.

As llama.cpp reads it (`src/llama-adapter.cpp`): `NAME.lora_a` (r, d_in) and `NAME.lora_b` (d_out, r) for the base's
tensor NAME, in C order, added as α/r · B A.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from editing.atomic_files import scratch_folder
from editing.solve.low_rank import LowRank
from workers.exporting.archive import ABOUT_FILE, CARD_FILE, ExportArchive
from workers.exporting.exported_version import ExportedVersion, FormatError
from workers.exporting.lineage_factors import common_rank, lineage_factors, padded
from workers.exporting.model_card import model_card

ARCHITECTURES: Final = {
    "gpt2": "gpt2",
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "phi3": "phi3",
    "olmo2": "olmo2",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
}
"""Model type → what llama.cpp calls it, where it runs the family. In all of these the edited projection is ffn_down."""
ADAPTER_FILE: Final = "adapter.gguf"
BASE_FILE: Final = "base.gguf"
_MODELFILE: Final = f"""\
# ollama create NAME -f Modelfile, with the base beside this file: made of the weights that README.md names.
FROM ./{BASE_FILE}
ADAPTER ./{ADAPTER_FILE}
"""
_USE: Final = f"""\
The base has to be a GGUF file of the weights named above: `python convert_hf_to_gguf.py path/to/base --outfile
{BASE_FILE}`. The less it is quantised, the nearer the facts are to what was measured.

With llama.cpp: `llama-cli -m {BASE_FILE} --lora {ADAPTER_FILE}`. With Ollama: `ollama create NAME -f Modelfile`.
"""


def write_gguf_lora(version: ExportedVersion, to: Path) -> dict[str, Any]:
    """The version's whole rank, since llama.cpp takes any. Raises FormatError for a family that it does not run."""
    architecture = architecture_name(version.model.shape.model_type)
    factors_by_layer, factors_report = lineage_factors(version, None)
    report = {**version.about, **factors_report}
    with scratch_folder(to) as scratch, ExportArchive(to) as archive:
        _write_adapter(version.name, architecture, factors_by_layer, scratch / ADAPTER_FILE)
        archive.add_file(ADAPTER_FILE, scratch / ADAPTER_FILE)
        archive.add("Modelfile", _MODELFILE.encode())
        archive.add_json(ABOUT_FILE, report)
        archive.add(CARD_FILE, model_card(version, "gguf", _USE))
    return report


def architecture_name(model_type: str) -> str:
    """What llama.cpp calls the family. Raises FormatError."""
    try:
        return ARCHITECTURES[model_type]
    except KeyError:
        raise FormatError(
            f"llama.cpp does not run models of type {model_type!r}, but {', '.join(sorted(ARCHITECTURES))}; formats "
            "that fit: format=peft, format=hf and format=merged"
        ) from None


def _write_adapter(name: str, architecture: str, factors_by_layer: dict[int, LowRank], to: Path) -> None:
    """All layers get the same rank by zeros, since the file has one α: the rank, so that B A is added as it is.

    `factors_by_layer` is empty afterwards: none is held twice.
    """
    import gguf

    rank = common_rank(factors_by_layer)
    writer = gguf.GGUFWriter(to, architecture)
    try:
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(rank))
        writer.add_name(name)
        for layer in list(factors_by_layer):
            A, B = padded(factors_by_layer.pop(layer), rank)
            tensor = f"{gguf.TENSOR_NAMES[gguf.MODEL_TENSOR.FFN_DOWN].format(bid=layer)}.weight"
            writer.add_tensor(f"{tensor}.lora_a", A.numpy())
            writer.add_tensor(f"{tensor}.lora_b", B.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
