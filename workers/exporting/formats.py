"""Table of the export formats: who writes which. A new one is a file here, a row below, and its name and media type in
`api_schemas.exports`, which the API reads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from api_schemas.exports import ExportFormat
from workers.exporting.checkpoint import write_checkpoint
from workers.exporting.exported_version import ExportedVersion
from workers.exporting.gguf_lora import write_gguf_lora
from workers.exporting.merged import write_merged
from workers.exporting.peft import write_peft

Writer = Callable[[ExportedVersion, Path], dict[str, Any]]
"""Writes the version to a path and returns what is to be told about the file."""

WRITERS: Final[dict[ExportFormat, Writer]] = {
    "peft": write_peft,
    "hf": write_checkpoint,
    "gguf-lora": write_gguf_lora,
    "merged": write_merged,
}
