"""Exports become folders that engines read: whole, flat, and gone when nobody uses them."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from service.deployments.files import is_adapter, place_of, remove_unused, unpack
from store.blobs.opening import open_blob_store


def zip_of(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, f"content of {name}")
    return content.getvalue()


def test_an_export_is_unpacked_once_for_every_reader(tmp_path: Path) -> None:
    blobs = open_blob_store(str(tmp_path / "blobs"))
    blob = blobs.put(zip_of("a.json", "b.safetensors"))
    place = place_of(tmp_path / "engines", "tiny", 3, "peft", blob)
    assert place == tmp_path / "engines" / "tiny" / f"v3-peft-{blob[:16]}"
    assert (is_adapter(str(place)), is_adapter("/x/v3-hf-1"), is_adapter(None)) == (True, False, False)
    unpack(blobs, blob, place)
    assert {path.name: path.read_text() for path in place.iterdir()} == {
        "a.json": "content of a.json",
        "b.safetensors": "content of b.safetensors",
    }
    assert (place.stat().st_mode & 0o777, (place / "a.json").stat().st_mode & 0o777) == (0o755, 0o644)
    (place / "a.json").write_text("kept")
    unpack(blobs, blob, place)
    assert (place / "a.json").read_text() == "kept"


@pytest.mark.parametrize("name", ["../out", "/out", "in/out"])
def test_nothing_is_written_elsewhere(tmp_path: Path, name: str) -> None:
    blobs = open_blob_store(str(tmp_path / "blobs"))
    blob = blobs.put(zip_of("a.json", name))
    place = place_of(tmp_path / "engines", "tiny", 3, "peft", blob)
    with pytest.raises(ValueError, match="not one of ours"):
        unpack(blobs, blob, place)
    assert not place.exists()
    assert [path.name for path in place.parent.iterdir() if not path.name.endswith(".lock")] == []


def test_folders_go_when_no_deployment_names_them(tmp_path: Path) -> None:
    for name in ("v1-peft-a", "v2-peft-b", "v3-peft-c", "mine"):
        (tmp_path / "tiny" / name).mkdir(parents=True)
    for name in ("v1-peft-a", "v2-peft-b", "mine"):
        os.utime(tmp_path / "tiny" / name, (0, 0))
    remove_unused(tmp_path, "tiny", {"v2-peft-b"})
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["mine", "v2-peft-b", "v3-peft-c"]
