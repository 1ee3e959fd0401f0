"""A tiny model in a folder, as transformers saves it, and loaded as ours are."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from editing.model.loading import LoadedModel, load_model
from tests.support.tiny_models import tiny_model, tiny_tokenizer


def save_tiny(folder: Path, name: str = "llama", bos: bool = True, dtype: torch.dtype = torch.float32) -> Path:
    """Save a tiny random model with its tokenizer in `folder`; control tokens are <s> (0) and </s> (1)."""
    model = tiny_model(name, dtype)
    model.config.bos_token_id, model.config.eos_token_id = 0, 1
    model.generation_config.bos_token_id, model.generation_config.eos_token_id = 0, 1
    model.save_pretrained(folder)
    tokenizer: Tokenizer = tiny_tokenizer(bos=bos)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == model.config.model_type
    return folder


def load_tiny(folder: Path, name: str = "llama", dtype: torch.dtype = torch.float64) -> LoadedModel:
    """Save (once) and load a tiny model below `folder`."""
    place = folder / name
    if not place.is_dir():
        save_tiny(place, name)
    return load_model(str(place), cache=folder / "cache", dtype=dtype)
