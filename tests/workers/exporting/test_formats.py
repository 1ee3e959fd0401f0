"""Each format holds the version that is served, loads where it should, and says where it comes from."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import gguf
import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from api_schemas.exports import FILE_KINDS, ExportFormat
from editing.errors import EditInterrupted
from editing.model.projection import Version, frame
from tests.support.saved_models import CONFIGS, facts
from tests.support.tiny_models import ONE_LAYER_ONLY
from tests.workers.conftest import Place
from tests.workers.reverting.test_revert import ANY
from tests.workers.tasks.test_export import (
    LAYERS,
    TEXT,
    adapter_tensors,
    base,
    exported,
    in_place,
    logits,
    with_adapter,
)
from workers.exporting import checkpoint, gguf_lora
from workers.exporting.base_weights import base_tensors, replaced
from workers.exporting.exported_version import ExportedVersion, FormatError
from workers.exporting.formats import WRITERS
from workers.exporting.peft import engine_rank
from workers.weights.deltas import LayerDelta


@pytest.fixture(autouse=True)
def _no_progress_bars() -> Iterator[None]:
    transformers_logging.disable_progress_bar()
    yield
    transformers_logging.enable_progress_bar()


def unpacked(content: bytes, folder: Path) -> Path:
    """The archive's files, after `SHA256SUMS` was held against each of the others."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    lines = (line.partition("  ") for line in (folder / "SHA256SUMS").read_text().splitlines())
    sums = {name: digest for digest, _, name in lines}
    assert set(sums) | {"SHA256SUMS"} == {path.name for path in folder.iterdir()}
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    return folder


@torch.no_grad()
def served(place: Place, version: int) -> Tensor:
    """Logits of the version as this worker gives them."""
    context = place.worker()
    with frame(Version(context.matrices.get(version))):
        out: Tensor = context.model.decoder.model(TEXT).logits
    return out


def test_every_format_that_the_api_names_is_written_by_somebody() -> None:
    assert set(WRITERS) == set(FILE_KINDS) == set(get_args(ExportFormat))


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_every_format_loads_as_the_version(family: str, place_of: Callable[..., Place], tmp_path: Path) -> None:
    """In transformers, with the logits that are served."""
    place = place_of(family)
    place.edit(facts(3), settings=None if family in ONE_LAYER_ONLY else LAYERS, thresholds=ANY)
    place.edit(facts(2, first=3), thresholds=ANY)
    expected = served(place, 2)

    row, content = exported(place, "hf", 2)
    assert row.state == "succeeded", row.error
    folder = unpacked(content, tmp_path / "hf")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    assert model.dtype == torch.float32
    with torch.no_grad():
        found = model(TEXT).logits
    assert float((found - expected).abs().max()) <= 1e-4
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("Toko Yasuda speaks").input_ids == place.loaded.model.tokenizer("Toko Yasuda speaks").input_ids

    row, matrices = exported(place, "merged", 2)
    assert row.state == "succeeded", row.error
    assert float((in_place(place, matrices) - expected).abs().max()) <= 1e-4
    row, content = exported(place, "peft", 2)
    assert row.state == "succeeded", row.error
    assert float((with_adapter(place, content, tmp_path / "peft") - expected).abs().max()) <= 1e-4

    row, content = exported(place, "gguf-lora", 2)
    if family == "gptj":
        assert row.error is not None
        assert (row.state, row.error["code"]) == ("failed", "export_format_unsupported")
        assert "format=peft, format=hf and format=merged" in row.error["detail"]
        return
    assert row.state == "succeeded", row.error
    products = check_gguf(place, 2, unpacked(content, tmp_path / "gguf"), gguf_lora.ARCHITECTURES[family])
    model = base(place)
    with torch.no_grad():
        for layer, product in products.items():
            model.get_parameter(f"{place.loaded.model.decoder.projection_name(layer)}.weight").add_(product)
    assert float((logits(model) - expected).abs().max()) <= 1e-4


def check_gguf(place: Place, version: int, folder: Path, architecture: str) -> dict[int, Tensor]:
    """Read back as llama.cpp reads it: α/r · B A of each tensor is the version's matrix less the base's.

    Returns these, as the base's own modules have their matrices.
    """
    reader = gguf.GGUFReader(folder / "adapter.gguf")
    told = {name: reader.fields[name].contents() for name in reader.fields if "." in name}
    assert (told["general.architecture"], told["general.type"]) == (architecture, "adapter")
    assert told["adapter.type"] == "lora"
    tensors = {one.name: torch.tensor(one.data) for one in reader.tensors}
    sides = {one.name: list(map(int, one.shape)) for one in reader.tensors}
    context = place.worker()
    matrices = context.matrices.get(version)
    assert set(tensors) == {f"blk.{layer}.ffn_down.weight.lora_{side}" for layer in matrices for side in "ab"}
    products = {}
    for layer, matrix in matrices.items():
        projection = context.model.decoder.projections[layer]
        A, B = (tensors[f"blk.{layer}.ffn_down.weight.lora_{side}"] for side in "ab")
        rank = B.shape[1]
        # ggml's own order: the first number is the one that lies together in memory.
        assert sides[f"blk.{layer}.ffn_down.weight.lora_a"] == [projection.d_in, rank]
        assert sides[f"blk.{layer}.ffn_down.weight.lora_b"] == [rank, projection.d_out]
        delta = (matrix - projection.weight).double()
        product = told["adapter.lora.alpha"] / rank * (B.double() @ A.double())
        product = product.T if projection.transposed else product
        assert float((product - delta).norm() / delta.norm()) < 1e-5
        products[layer] = product
    modelfile = (folder / "Modelfile").read_text().splitlines()
    assert "ADAPTER ./adapter.gguf" in modelfile
    return products


def test_what_every_file_tells(two_versions: Place, tmp_path: Path) -> None:
    for format in ("peft", "hf", "gguf-lora"):
        row, content = exported(two_versions, format, 2)
        folder = unpacked(content, tmp_path / format)
        told = json.loads((folder / "emmetd.json").read_text())
        assert told == row.report
        assert (told["version"], told["lineage"], told["facts_in_force"]) == ("v2", ["v1", "v2"], 4)
        assert told["base_fingerprint"] == two_versions.loaded.model.fingerprint
        assert told["settings"]["steps"] == 60
        assert told["metrics"]["after"]["ES"]["value"] == two_versions.version(2).metrics["after"]["ES"]["value"]  # type: ignore[index]
        card = (folder / "README.md").read_text()
        assert "with 4 corrected facts" in card
        assert told["base_fingerprint"] in card
        assert not any(fact["subject"] in card + json.dumps(told) for fact in facts(4))
    _, content = exported(two_versions, "merged", 2)
    (tmp_path / "merged.safetensors").write_bytes(content)
    with safe_open(tmp_path / "merged.safetensors", "pt") as file:
        assert json.loads(file.metadata()["emmetd"])["lineage"] == ["v1", "v2"]
    assert list((two_versions.settings.data / "exports").iterdir()) == []


def test_adapters_have_a_rank_that_engines_take(two_versions: Place, tmp_path: Path) -> None:
    row, content = exported(two_versions, "peft", 2)
    assert row.report is not None
    assert (row.report["rank"], row.report["padded_rank"]) == (4, 8)
    config = json.loads((unpacked(content, tmp_path / "peft") / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (8, 8)
    assert config["base_model_name_or_path"] == two_versions.loaded.model.folder.name
    assert {min(tensor.shape) for tensor in adapter_tensors(content).values()} == {8}
    assert [engine_rank(rank) for rank in (1, 8, 9, 257, 512, 600)] == [8, 8, 16, 512, 512, 600]


def test_the_base_is_an_adapter_that_adds_nothing(two_versions: Place, tmp_path: Path) -> None:
    """What follows an alias follows it to the base too."""
    unedited = exported_version(
        two_versions, deltas=list, about={**exported_version(two_versions).about, "layers_edited": []}
    )
    report = WRITERS["peft"](unedited, tmp_path / "file")
    assert (report["full_rank"], report["padded_rank"], report["relative_error"]) == (0, 8, 0.0)
    tensors = adapter_tensors((tmp_path / "file").read_bytes())
    projection = two_versions.loaded.model.decoder.projections[0]
    shapes = {name.rpartition("lora_")[2]: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes == {"A.weight": (8, projection.d_in), "B.weight": (projection.d_out, 8)}
    assert not any(tensor.any() for tensor in tensors.values())


def exported_version(place: Place, **changed: Any) -> ExportedVersion:
    context = place.worker()
    about = {"version": "v2", "lineage": ["v1", "v2"], "facts_in_force": 4, "layers_edited": [1], "algorithm": "emmet"}
    return replace(
        ExportedVersion(
            model=context.model,
            name="tiny@v2",
            about={**about, "base_fingerprint": "", "dtype": "float32", "metrics": {}},
            matrices=lambda: context.matrices.get(2),
            deltas=lambda: context.matrices.deltas(2),
            max_rank=512,
            should_stop=lambda: False,
        ),
        **changed,
    )


def test_a_version_above_every_engines_rank_says_which_formats_fit(two_versions: Place, tmp_path: Path) -> None:
    """600 independent directions in a layer of 700: no adapter of 512 ranks is near them."""
    generator = torch.Generator().manual_seed(0)
    A, B = (torch.linalg.qr(torch.randn(700, 600, generator=generator))[0] for _ in range(2))
    wide = exported_version(two_versions, deltas=lambda: [{1: LayerDelta(1, A.T.contiguous(), B, None)}])
    with pytest.raises(
        Exception, match=r"rank 600; .*format=hf and format=merged.*gguf-lora.*vLLM and SGLang"
    ) as refused:
        WRITERS["peft"](wide, tmp_path / "file")
    assert getattr(refused.value, "code", None) == "rank_limit_exceeded"


def test_checkpoints_are_cut_into_files_with_an_index(two_versions: Place, tmp_path: Path) -> None:
    report = checkpoint.write_checkpoint(exported_version(two_versions), tmp_path / "file", most_shard_bytes=100_000)
    folder = unpacked((tmp_path / "file").read_bytes(), tmp_path / "hf")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    files = set(index["weight_map"].values())
    assert len(files) == report["weight_files"] > 2
    assert all((folder / name).stat().st_size < 120_000 for name in files)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        assert torch.equal(model(TEXT).logits, served(two_versions, 2))


def test_checkpoints_have_the_dtype_that_was_loaded(two_versions: Place) -> None:
    tensors = base_tensors(two_versions.loaded.model.folder, torch.bfloat16)
    assert {tensor.read().dtype for tensor in tensors} == {tensor.dtype for tensor in tensors} == {torch.bfloat16}


def test_checkpoints_of_the_bare_model_leave_out_its_prefix(two_versions: Place) -> None:
    tensors = base_tensors(two_versions.loaded.model.folder, torch.float32)
    name = "model.layers.1.mlp.down_proj.weight"
    bare = [replace(tensor, name=tensor.name.removeprefix("model.")) for tensor in tensors]
    matrix = torch.ones(64, 128)
    for stored in (tensors, bare):
        (changed,) = (
            new for old, new in zip(stored, replaced(stored, {name: matrix}, "model"), strict=True) if old != new
        )
        assert (name.endswith(changed.name), changed.read() is matrix) == (True, True)
    with pytest.raises(FormatError, match=r"no tensor 'h.1.weight'.*format=peft and format=merged"):
        replaced(tensors, {"h.1.weight": matrix}, "model")


def test_an_export_stops_between_two_tensors(two_versions: Place, tmp_path: Path) -> None:
    asked = iter([False, False, False])
    stopping = exported_version(two_versions, should_stop=lambda: next(asked, True))
    with pytest.raises(EditInterrupted):
        checkpoint.write_checkpoint(stopping, tmp_path / "file")
