"""Fingerprints of a model: SHA-256 of its weights, and of its tokenizer.

The weights' hash is a tree: one digest per parameter, so that cores share the work, then one over the sorted list.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor, nn

_SCHEME = b"emmetd-weights-1\n"
_PIECE = 1 << 24


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 (hex) over names, dtypes, shapes and bytes of all of `model`'s parameters, in the order of their names.

    Tied parameters count once, under their first name. The device does not matter; the dtype does.
    """
    parameters = sorted(model.named_parameters(), key=lambda item: item[0])
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        digests = pool.map(lambda item: tensor_digest(item[1]), parameters)
        whole = hashlib.sha256(_SCHEME)
        for (name, _), digest in zip(parameters, digests, strict=True):
            whole.update(name.encode() + b"\n" + digest)
    return whole.hexdigest()


def tensor_digest(tensor: Tensor) -> bytes:
    """SHA-256 of one tensor's dtype, shape and bytes in row-major order, streamed in pieces of 16 MiB."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    for start in range(0, flat.numel(), _PIECE):
        digest.update(flat[start : start + _PIECE].cpu().numpy().data)
    return digest.digest()


def tokenizer_fingerprint(tokenizer_json: str) -> str:
    """SHA-256 (hex) of a `tokenizers` tokenizer, given as its JSON.

    Padding and truncation are left out: they are settings of a call that libraries write into the tokenizer.
    """
    content = json.loads(tokenizer_json)
    content.pop("padding", None)
    content.pop("truncation", None)
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def remembered_weights_fingerprint(model: nn.Module, folder: Path, memory: Path) -> str:
    """`weights_fingerprint(model)` for a model loaded from `folder`, kept in the file `memory` for the next start.

    What was kept counts only while every weight file has the size and modification time it had then, and for the
    dtype it was computed for. A file that cannot be written costs the hash each time.
    """
    dtype = str(next(model.parameters()).dtype)
    state = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(folder.glob("*.safetensors"))]
    try:
        remembered = json.loads(memory.read_text())
    except (OSError, ValueError):
        remembered = None
    if (
        not isinstance(remembered, dict)
        or remembered.get("files") != state
        or remembered.get("scheme") != _SCHEME.decode()
    ):
        remembered = {"scheme": _SCHEME.decode(), "files": state, "weights": {}}
    if dtype not in remembered["weights"]:
        remembered["weights"][dtype] = weights_fingerprint(model)
        remembered["folder"] = str(folder.resolve())
        part = memory.with_name(f".{memory.name}.{os.getpid()}")
        try:
            memory.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(remembered, indent=1))
            part.replace(memory)
        except OSError:
            part.unlink(missing_ok=True)
    return str(remembered["weights"][dtype])
