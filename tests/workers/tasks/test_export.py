"""What is exported is the version: as an adapter that `peft` loads, and as matrices loaded over the base."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from sqlalchemy import select
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from store.access import audit
from store.schema.tables import ExportRow
from store.work import exports, lifecycle
from store.work.kinds import EXPORT
from tests.support.saved_models import CONFIGS, facts
from tests.support.tiny_models import ONE_LAYER_ONLY
from tests.workers.conftest import MODEL, Place
from tests.workers.reverting.test_revert import ANY, revert

TEXT = torch.arange(3, 43).reshape(2, 20)
LAYERS = {"layers": [1, 2]}


@pytest.fixture(autouse=True)
def _no_progress_bars() -> Iterator[None]:
    transformers_logging.disable_progress_bar()
    yield
    transformers_logging.enable_progress_bar()


def exported(place: Place, format: str, version: int, max_rank: int = 512) -> tuple[ExportRow, bytes]:
    with place.database.writing() as session:
        made = exports.create(session, model=MODEL, version=version, format=format, max_rank=max_rank).id
    assert place.run() == ["export"]
    with place.database.reading() as session:
        row = lifecycle.get(session, EXPORT, made)
    return row, place.blobs.get(row.blob) if row.blob is not None else b""


def keeping(place: Place, most: int) -> Place:
    place.worker(settings=place.settings.model_copy(update={"max_exports": most}))
    return place


def kept(place: Place) -> list[tuple[int, str, int]]:
    """All exports that there are, oldest first: their versions, formats and ranks. Each has its file."""
    with place.database.reading() as session:
        rows = session.scalars(select(ExportRow).order_by(ExportRow.created_at, ExportRow.id)).all()
    assert all(row.blob is None or place.blobs.exists(row.blob) for row in rows)
    return [(row.version, row.format, row.max_rank) for row in rows]


def files(place: Place) -> int:
    return sum(1 for _ in place.blobs.entries())


def test_of_many_exports_the_newest_are_kept(two_versions: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "FETCH_WITHIN", timedelta(0))
    place = keeping(two_versions, 2)
    before = files(place)
    _, first = exported(place, "merged", 1, 0)
    for format, version, rank in (("peft", 1, 8), ("merged", 2, 0), ("peft", 2, 8)):
        exported(place, format, version, rank)
    assert kept(place) == [(2, "merged", 0), (2, "peft", 8)]
    assert files(place) == before + 2
    with place.database.reading() as session:
        expired = audit.page(session, None, 10, action="exports.expired")
    assert [(entry.model, len(entry.details["exports"])) for entry in expired] == [(MODEL, 1), (MODEL, 1)]
    row, again = exported(place, "merged", 1, 0)
    assert (row.state, again) == ("succeeded", first)
    assert kept(place) == [(2, "peft", 8), (1, "merged", 0)]


def test_exports_that_failed_make_room_too(two_versions: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "FETCH_WITHIN", timedelta(0))
    place = keeping(two_versions, 1)
    for version in (1, 2):
        row, _ = exported(place, "peft", version, 1)
        assert row.error is not None
    assert kept(place) == [(2, "peft", 1)]


def test_a_file_that_two_exports_share_goes_with_the_last_of_them(
    two_versions: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "FETCH_WITHIN", timedelta(0))
    place = keeping(two_versions, 2)
    before = files(place)
    (one, content), (other, same) = (exported(place, "peft", 1, rank) for rank in (100, 200))
    assert (one.blob, content) == (other.blob, same)
    exported(place, "merged", 1, 0)
    assert kept(place) == [(1, "peft", 200), (1, "merged", 0)]
    exported(place, "merged", 2, 0)
    assert kept(place) == [(1, "merged", 0), (2, "merged", 0)]
    assert files(place) == before + 2


def test_an_export_that_was_just_made_waits_for_who_asked(two_versions: Place) -> None:
    place = keeping(two_versions, 1)
    for version in (1, 2):
        exported(place, "merged", version, 0)
    assert kept(place) == [(1, "merged", 0), (2, "merged", 0)]


def base(place: Place) -> nn.Module:
    model: nn.Module = AutoModelForCausalLM.from_pretrained(place.loaded.model.folder, dtype=torch.float32)
    return model.eval()


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    out: Tensor = model(TEXT).logits
    return out


def in_place(place: Place, merged: bytes) -> Tensor:
    """Logits of the base with exported matrices loaded over it."""
    model = base(place)
    tensors = load(merged)
    missing, unknown = model.load_state_dict(tensors, strict=False)
    assert unknown == []
    assert not set(missing) & set(tensors)
    return logits(model)


def with_adapter(place: Place, content: bytes, folder: Path) -> Tensor:
    from peft import PeftModel

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")  # peft asks for it
        model = PeftModel.from_pretrained(base(place), folder)
    adapted = {
        name.removeprefix("base_model.model.").removesuffix(".lora_A.default")
        for name, _ in model.named_modules()
        if name.endswith("lora_A.default")
    }
    assert adapted == set(json.loads((folder / "adapter_config.json").read_text())["target_modules"])
    return logits(model)


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_an_adapter_at_its_rank_is_the_version(family: str, place_of: Callable[..., Place], tmp_path: Path) -> None:
    place = place_of(family)
    place.edit(facts(3), settings=None if family in ONE_LAYER_ONLY else LAYERS, thresholds=ANY)
    place.edit(facts(3, first=3), thresholds=ANY)
    revert(place, 1, of=1)
    assert place.latest() == 3

    peft, zipped = exported(place, "peft", 3)
    merged, matrices = exported(place, "merged", 3)
    assert (peft.state, merged.state) == ("succeeded", "succeeded")
    expected = in_place(place, matrices)
    found = with_adapter(place, zipped, tmp_path / "adapter")
    assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    assert float((logits(base(place)) - expected).abs().max()) > 1e-2 * float(expected.abs().max())
    assert peft.report is not None
    assert (peft.report["relative_error"], peft.report["lineage"]) == (0.0, ["v1", "v2", "v3"])
    assert peft.report["rank"] == peft.report["full_rank"]
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        assert json.loads(archive.read("emmetd.json")) == peft.report


def test_merged_matrices_are_the_bits_that_are_served(place: Place) -> None:
    place.edit(facts(3), settings=LAYERS, thresholds=ANY)
    _, content = exported(place, "merged", 1)
    served = place.worker().matrices.get(1)
    found = load(content)
    names = {layer: f"model.layers.{layer}.mlp.down_proj.weight" for layer in served}
    assert set(found) == set(names.values())
    for layer, matrix in served.items():
        assert torch.equal(found[names[layer]], matrix)


def test_fewer_ranks_tell_their_error_or_are_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.exporting import lineage_factors

    place.edit(facts(5), thresholds=ANY)
    refused, _ = exported(place, "peft", 1, max_rank=2)
    assert refused.error is not None
    assert (refused.state, refused.error["code"]) == ("failed", "rank_limit_exceeded")
    assert all(f"format={fits}" in refused.error["detail"] for fits in ("hf", "merged", "gguf-lora"))
    assert "max_rank=5" in refused.error["detail"]

    monkeypatch.setattr(lineage_factors, "MOST_ERROR", 1.0)
    row, content = exported(place, "peft", 1, max_rank=2)
    assert row.report is not None
    assert (row.report["rank"], row.report["full_rank"]) == (2, 5)
    tensors = adapter_tensors(content)
    product = next(value for name, value in tensors.items() if "lora_B" in name) @ next(
        value for name, value in tensors.items() if "lora_A" in name
    )
    (delta,) = place.worker().matrices.deltas(1)
    exact = delta[1].delta().float()
    error = float((exact - product).norm() / exact.norm())
    assert row.report["relative_error"] == pytest.approx(error, rel=1e-3)
    assert error > 0.01


def adapter_tensors(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return load(archive.read("adapter_model.safetensors"))


def test_an_adapter_is_the_same_bytes_when_made_again(place: Place) -> None:
    place.edit(facts(3), thresholds=ANY)
    first, again = exported(place, "peft", 1), exported(place, "peft", 1)
    assert first[1] == again[1]
    assert first[0].id != again[0].id
