"""Whether vLLM serves the base that an adapter is made for. An adapter on another base fits by chance or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from emmetd_vllm import archive
from emmetd_vllm.adapters import Adapter
from emmetd_vllm.errors import NotServedError
from emmetd_vllm.settings import MODEL

_MOST_HEADER_BYTES: Final = 16 * 1024**2


def doubt(served: str, adapter: Adapter, model: str | None) -> str | None:
    """Why the base that vLLM `served`, a hub id or a folder, may not be the adapter's; None where it is.

    `model` is the NAME that the operator says is served: then names of bases are not compared. Raises NotServedError
    where it is another base, OSError.
    """
    name = adapter.version.partition("@")[0]
    folder = Path(served)
    is_folder = folder.is_dir()
    if is_folder:
        _compare_sizes(folder, adapter)
    if model is not None or _are_one(served, is_folder, adapter.base, name):
        return None
    if not is_folder:
        raise NotServedError(
            f"vLLM serves {served[:200]!r}, and {adapter.version} is of {adapter.base[:200]!r}; ask the vLLM of that "
            f"base, or set {MODEL}={name} where both are the same weights"
        )
    return (
        f"whether {served[:200]!r} is {adapter.base[:200]!r}, which {adapter.version} is of, cannot be told from its "
        f"name; compare answers, and set {MODEL}={name} where they are the same"
    )


def _are_one(served: str, is_folder: bool, base: str, name: str) -> bool:
    """By their names. Folders have the last part of a hub id, or the NAME, by custom."""
    if served == base:
        return True
    if is_folder:
        path = Path(served).resolve()
        if (hub_id := _hub_id_of_cache(path)) is not None and "/" in base:
            return hub_id == base
        return path.name.casefold() in {_last_part(base), name}
    return "/" not in base and _last_part(served) == _last_part(base)


def _hub_id_of_cache(path: Path) -> str | None:
    """Of a folder models--OWNER--NAME/snapshots/COMMIT, as the hub's own cache has them."""
    if path.parent.name != "snapshots" or not path.parents[1].name.startswith("models--"):
        return None
    return path.parents[1].name.removeprefix("models--").replace("--", "/", 1)


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()


def _compare_sizes(folder: Path, adapter: Adapter) -> None:
    """vLLM copies a smaller adapter into the corner of a larger projection without a word. Raises NotServedError."""
    try:
        config = json.loads((folder / "config.json").read_text())
        there = config.get("text_config", config)["hidden_size"]
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return  # vLLM reads models that have none
    here = _hidden_size(adapter.folder / archive.WEIGHTS_FILE)
    if isinstance(there, int) and here is not None and there != here:
        raise NotServedError(
            f"vLLM serves a model with hidden_size {there}, and {adapter.version} is of one with {here} "
            f"({adapter.base[:200]!r}); ask the vLLM of that base"
        )


def _hidden_size(weights: Path) -> int | None:
    """The rows of the edited projections, which write to the residual stream; None of a file without such tensors."""
    header = _header(weights)
    for name, tensor in header.items():
        if name.endswith(".lora_B.weight") and isinstance(tensor, dict):
            shape = tensor.get("shape")
            if isinstance(shape, list) and len(shape) == 2 and isinstance(shape[0], int):
                return shape[0]
    return None


def _header(weights: Path) -> dict[str, Any]:
    """Of a safetensors file: names, dtypes and shapes, as JSON behind its length. Raises NotServedError, OSError."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        content = file.read(length) if length <= _MOST_HEADER_BYTES else b""
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NotServedError(f"{archive.WEIGHTS_FILE} of the export is no safetensors file; update emmetd")
    return found
