"""A GGUF file → a folder that transformers loads: `python -m editing.sources.gguf_conversion FILE.gguf FOLDER`.

Run as a process of its own: dequantising takes more than twice the model's memory, which ends with the process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def convert(gguf: Path, folder: Path) -> None:
    """Write the dequantised weights (float32 safetensors), the configuration and the tokenizer of `gguf`."""
    place: dict[str, Any] = {
        "pretrained_model_name_or_path": str(gguf.parent),
        "gguf_file": gguf.name,
        "local_files_only": True,
    }
    tokenizer: Any = AutoTokenizer.from_pretrained(**place)
    tokenizer.save_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    # The weights are plain float32 by now, but saving is refused while the model still says how they were quantised.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
