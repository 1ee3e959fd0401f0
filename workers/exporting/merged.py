"""`merged`: the edited matrices alone, as safetensors under their names in the model's own state dict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workers.exporting.exported_version import ExportedVersion
from workers.exporting.safetensors_stream import pending, stream


def write_merged(version: ExportedVersion, to: Path) -> dict[str, Any]:
    """One file to load over the base; what archives tell in emmetd.json its metadata has as `emmetd`."""
    tensors = [pending(name, matrix) for name, matrix in version.named_matrices().items()]
    report = dict(version.about)
    with to.open("wb") as file:
        for piece in stream(tensors, {"format": "pt", "emmetd": json.dumps(report, sort_keys=True)}):
            file.write(piece)
    return report
