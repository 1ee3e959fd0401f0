"""`hf`: the whole edited model as a checkpoint that transformers, vLLM, SGLang and llama.cpp's converter load.

Laid out as the folder that the model was loaded from, and streamed: of the base no more than one tensor at a time is in
memory beside the model itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from editing.progress import ShouldStop, check
from workers.exporting.archive import ABOUT_FILE, CARD_FILE, OWN_FILES, ExportArchive
from workers.exporting.base_weights import INDEX_FILE, base_tensors, replaced, shard_index, shards
from workers.exporting.exported_version import ExportedVersion, FormatError
from workers.exporting.model_card import model_card
from workers.exporting.safetensors_stream import PendingTensor, stream

MOST_SHARD_BYTES: Final = 5_000_000_000
"""As transformers cuts checkpoints."""
_CONFIG: Final = "config.json"
_COPIED: Final = ("*.json", "*.jinja", "*.model", "*.txt", "LICENSE*", "NOTICE*")
_NOT_COPIED: Final = OWN_FILES | {_CONFIG, INDEX_FILE, "source.json", "adapter_config.json"}
_USE: Final = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
```

With vLLM: `vllm serve path/to/this/folder`. For llama.cpp: `python convert_hf_to_gguf.py path/to/this/folder`.
"""


def write_checkpoint(version: ExportedVersion, to: Path, most_shard_bytes: int = MOST_SHARD_BYTES) -> dict[str, Any]:
    """Raises FormatError where the model's own files are quantised or name their tensors otherwise."""
    folder, decoder = version.model.folder, version.model.decoder
    config = _config(version)
    prefix = str(getattr(decoder.model, "base_model_prefix", ""))
    stored = base_tensors(folder, version.model.dtype)
    files = shards(replaced(stored, version.named_matrices(), prefix), most_shard_bytes)
    report = {**version.about, "weight_files": len(files)}
    with ExportArchive(to) as archive:
        archive.add_json(_CONFIG, config)
        for path in _files_to_copy(folder):
            archive.add_file(path.name, path)
        if len(files) > 1:
            archive.add_json(INDEX_FILE, shard_index(files))
        for name, tensors in files.items():
            archive.add_pieces(name, _interruptible(tensors, version.should_stop))
        archive.add_json(ABOUT_FILE, report)
        archive.add(CARD_FILE, model_card(version, "transformers", _USE))
    return report


def _config(version: ExportedVersion) -> dict[str, Any]:
    """The source's own, with the dtype that the weights have now, under its new name and the one that others read."""
    config: dict[str, Any] = json.loads((version.model.folder / _CONFIG).read_text())
    if config.get("quantization_config") is not None:
        raise FormatError(
            "the model's own files are quantised, so that a checkpoint in their layout cannot have the edited matrices "
            "as they are; formats that fit: format=peft and format=merged"
        )
    config["dtype"] = config["torch_dtype"] = str(version.model.dtype).removeprefix("torch.")
    return config


def _files_to_copy(folder: Path) -> list[Path]:
    """Tokenizer, generation configuration, chat template and licence."""
    found = {path for pattern in _COPIED for path in folder.glob(pattern) if path.is_file()}
    return sorted(path for path in found if path.name not in _NOT_COPIED and not path.name.startswith("."))


def _interruptible(tensors: Sequence[PendingTensor], should_stop: ShouldStop) -> Iterator[bytes | memoryview]:
    for piece in stream(tensors, {"format": "pt"}):
        check(should_stop, "the export")
        yield piece
