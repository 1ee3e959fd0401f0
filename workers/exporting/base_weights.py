"""The weights of the base as its own safetensors files hold them: names and shapes at once, each tensor when asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from torch import Tensor

from workers.exporting.exported_version import FormatError
from workers.exporting.safetensors_stream import DTYPE_NAMES, PendingTensor

WHOLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
_DTYPES: Final = {name: dtype for dtype, name in DTYPE_NAMES.items()}
_INSTEAD: Final = "formats that fit: format=peft and format=merged, which do not need these files"


def base_tensors(folder: Path, dtype: torch.dtype) -> list[PendingTensor]:
    """All tensors of the model in `folder`, floating-point ones in `dtype`, by file and in each by name.

    Each is mapped from its file when it is read and let go afterwards. Raises FormatError where the files hold weights
    that are not plain numbers.
    """
    found = []
    for path in _files(folder):
        with safe_open(path, "pt", device="cpu") as file:
            for name in sorted(file.keys()):
                part = file.get_slice(name)
                stored = _DTYPES.get(part.get_dtype())
                if stored is None:
                    raise FormatError(
                        f"tensor {name!r} of {path.name} is {part.get_dtype()}, which is quantised; {_INSTEAD}"
                    )
                wanted = dtype if stored.is_floating_point else stored
                found.append(PendingTensor(name, wanted, tuple(part.get_shape()), partial(_read, path, name, wanted)))
    return found


def replaced(tensors: list[PendingTensor], matrices: Mapping[str, Tensor], prefix: str) -> list[PendingTensor]:
    """The same with `matrices`, by their names in the model's state dict, in the place of those stored.

    Checkpoints of the bare model leave out `prefix`, where the model with a head keeps it: GPT-2's are so on the hub.
    Raises FormatError where one is not stored under either name, in its shape.
    """
    places = {tensor.name: place for place, tensor in enumerate(tensors)}
    result = list(tensors)
    for name, matrix in matrices.items():
        place = places.get(name, places.get(name.removeprefix(f"{prefix}.")))
        if place is None or tensors[place].shape != tuple(matrix.shape):
            raise FormatError(
                f"the model's files have no tensor {name!r} of shape {tuple(matrix.shape)}, so that a checkpoint in "
                f"their layout cannot have the edited one; {_INSTEAD}"
            )
        result[place] = PendingTensor(tensors[place].name, matrix.dtype, tuple(matrix.shape), partial(_same, matrix))
    return result


def shards(tensors: list[PendingTensor], most_bytes: int) -> dict[str, list[PendingTensor]]:
    """File name → its tensors, each file of at most `most_bytes`, or of one tensor that is larger by itself."""
    groups: list[list[PendingTensor]] = [[]]
    size = 0
    for tensor in tensors:
        if groups[-1] and size + tensor.bytes > most_bytes:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.bytes
    if len(groups) == 1:
        return {WHOLE_FILE: groups[0]}
    return {f"model-{number:05}-of-{len(groups):05}.safetensors": group for number, group in enumerate(groups, start=1)}


def shard_index(files: Mapping[str, list[PendingTensor]]) -> dict[str, Any]:
    """What tells loaders in which file each tensor is."""
    return {
        "metadata": {"total_size": sum(tensor.bytes for group in files.values() for tensor in group)},
        "weight_map": {tensor.name: name for name, group in files.items() for tensor in group},
    }


def _files(folder: Path) -> list[Path]:
    """Those that transformers loads: a folder may hold the same weights in other layouts too."""
    if (folder / WHOLE_FILE).is_file():
        return [folder / WHOLE_FILE]
    try:
        names = set(json.loads((folder / INDEX_FILE).read_text())["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        raise FormatError(f"the model's folder has neither {WHOLE_FILE} nor a whole {INDEX_FILE}; {_INSTEAD}") from None
    if foreign := [name for name in names if Path(name).name != name]:
        raise FormatError(f"{INDEX_FILE} names {foreign[0]!r}, which is not a file beside it; {_INSTEAD}")
    return [folder / name for name in sorted(names)]


def _read(path: Path, name: str, dtype: torch.dtype) -> Tensor:
    with safe_open(path, "pt", device="cpu") as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor.to(dtype)


def _same(matrix: Tensor) -> Tensor:
    return matrix
