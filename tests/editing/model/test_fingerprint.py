"""The same model has the same fingerprint everywhere, another one another."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

from editing.model.decoder import Decoder
from editing.model.fingerprint import (
    remembered_weights_fingerprint,
    tensor_digest,
    tokenizer_fingerprint,
    weights_fingerprint,
)
from tests.support.tiny_models import tiny_model, tiny_tokenizer


def test_equal_weights_have_equal_fingerprints_and_any_change_shows() -> None:
    base = weights_fingerprint(tiny_model("llama"))
    assert base == weights_fingerprint(tiny_model("llama"))
    assert len(base) == 64
    others = {base, weights_fingerprint(tiny_model("llama", seed=1)), weights_fingerprint(tiny_model("gpt2"))}
    others.add(weights_fingerprint(tiny_model("llama", torch.float32)))
    moved = tiny_model("llama")
    with torch.no_grad():
        next(moved.parameters()).view(-1)[-1] += 1e-12
    others.add(weights_fingerprint(moved))
    assert len(others) == 5


def test_opening_a_model_for_editing_keeps_its_fingerprint() -> None:
    for name in ("gpt2", "llama-gqa"):
        model = tiny_model(name)
        before = weights_fingerprint(model)
        assert weights_fingerprint(Decoder(model).model) == before


def test_names_and_shapes_count() -> None:
    tensor = torch.arange(12.0)
    assert tensor_digest(tensor) != tensor_digest(tensor.view(3, 4))
    assert tensor_digest(tensor) != tensor_digest(tensor.view(torch.int32))
    assert tensor_digest(tensor.view(3, 4).T) == tensor_digest(tensor.view(3, 4).T.contiguous())
    assert tensor_digest(torch.tensor(1.0)) != tensor_digest(torch.tensor([1.0]))
    first = torch.nn.Module()
    first.register_parameter("a", torch.nn.Parameter(tensor))
    second = torch.nn.Module()
    second.register_parameter("b", torch.nn.Parameter(tensor))
    assert weights_fingerprint(first) != weights_fingerprint(second)


def test_a_kept_fingerprint_is_used_until_the_files_change(tmp_path: Path) -> None:
    model = tiny_model("llama")
    folder, memory = tmp_path / "model", tmp_path / "fingerprints" / "one.json"
    folder.mkdir()
    weights = folder / "model.safetensors"
    weights.write_bytes(b"x")
    found = remembered_weights_fingerprint(model, folder, memory)
    assert found == weights_fingerprint(model)
    kept = json.loads(memory.read_text())
    kept["weights"]["torch.float64"] = "kept"
    memory.write_text(json.dumps(kept))
    assert remembered_weights_fingerprint(model, folder, memory) == "kept"
    assert remembered_weights_fingerprint(tiny_model("llama", torch.float32), folder, memory) != "kept"
    assert remembered_weights_fingerprint(model, folder, memory) == "kept"
    weights.write_bytes(b"xy")
    assert remembered_weights_fingerprint(model, folder, memory) == found
    memory.write_text("no JSON")
    assert remembered_weights_fingerprint(model, folder, memory) == found
    assert [path.name for path in memory.parent.iterdir()] == ["one.json"]


def test_a_tokenizer_is_told_by_what_it_encodes_and_not_by_call_settings() -> None:
    tokenizer = tiny_tokenizer()
    found = tokenizer_fingerprint(tokenizer.to_str())
    assert tokenizer_fingerprint(Tokenizer.from_str(tokenizer.to_str(pretty=True)).to_str()) == found
    tokenizer.enable_padding()
    tokenizer.enable_truncation(7)
    assert tokenizer_fingerprint(tokenizer.to_str()) == found
    assert tokenizer_fingerprint(tiny_tokenizer(bos=True).to_str()) != found
