"""A model's decoder without its weights: every shape that its configuration gives, on PyTorch's meta device."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from editing.errors import ModelLoadError
from editing.model.decoder import Decoder
from editing.model.loading import kept_folder
from editing.sources.inspection import hub_id_of


def weightless_decoder(config: Any, dtype: torch.dtype) -> Decoder:
    """The decoder of transformers' `config` in `dtype`; its tensors have shapes and no numbers, and take no memory.

    Raises UnsupportedModelError where the model could not be edited.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=dtype)
    return Decoder(model)


def configuration_of(reference: str, *, cache: Path, revision: str | None = None, token: str | None = None) -> Any:
    """transformers' configuration of the model `reference`, from its folder where it was fetched, else from the hub at
    `revision`.

    Fetches no weights. Raises ModelLoadError where there is none to be had.
    """
    from transformers import AutoConfig

    folder = kept_folder(reference, cache=cache, revision=revision)
    source = folder or hub_id_of(reference)
    try:
        return AutoConfig.from_pretrained(
            source,
            local_files_only=folder is not None,
            revision=revision if folder is None and revision is not None else "main",
            trust_remote_code=False,
            token=token,
        )
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and more
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
        raise ModelLoadError(
            f"the configuration of {reference!r} cannot be read from {str(source)!r} ({first}); "
            "fetch the model first: emmetd models prepare"
        ) from error


def tensor_bytes(model: torch.nn.Module) -> int:
    """Bytes of a model's parameters and buffers, each once however many modules share it."""
    tensors = {id(tensor): tensor.nbytes for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensors.values())
