"""Reading chosen arrays of a delta's blob without the rest of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from store.blobs.deltas import CHANGE, LayerArrays, pack_delta, read_delta
from store.blobs.folder import FolderBlobStore
from store.errors import BlobCorruptError, BlobMissingError

FINGERPRINT = "f" * 64


class Counted(FolderBlobStore):
    read_bytes = 0

    def part(self, sha256: str, start: int, length: int) -> bytes:
        found = super().part(sha256, start, length)
        self.read_bytes += len(found)
        return found

    def get(self, sha256: str) -> bytes:
        raise AssertionError("read as a whole")


@pytest.fixture
def blobs(tmp_path: Path) -> Counted:
    return Counted(tmp_path / "blobs")


def layer(seed: int) -> LayerArrays:
    random = np.random.default_rng(seed)
    shapes = {"a": (2, 300), "b": (200, 2), "keys": (300, 500), "values": (200, 500)}
    arrays = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return LayerArrays(
        a=arrays["a"], b=arrays["b"], keys=arrays["keys"], values=arrays["values"], pins={1: arrays["keys"][:, :3]}
    )


def put(blobs: Counted, note: str = "") -> str:
    return blobs.put(pack_delta({1: layer(1), 2: layer(2)}, {"fingerprint": FINGERPRINT, "note": note}))


def test_what_a_delta_adds_is_read_without_its_keys(blobs: Counted) -> None:
    layers, header = read_delta(blobs, put(blobs, "said"), FINGERPRINT, parts=CHANGE)
    assert (sorted(layers), header["note"]) == ([1, 2], "said")
    for number, found in layers.items():
        assert np.array_equal(found.a, layer(number).a)  # type: ignore[arg-type]
        assert np.array_equal(found.b, layer(number).b)  # type: ignore[arg-type]
        assert (found.keys, found.values, found.dense, found.pins) == (None, None, None, {})
    assert blobs.read_bytes < 2**16 + 2 * 4 * 2 * 500 + 1


def test_keys_of_one_layer_are_read_without_the_others(blobs: Counted) -> None:
    layers, _ = read_delta(blobs, put(blobs), FINGERPRINT, parts=["keys", "pins"], layers=[2])
    assert list(layers) == [2]
    assert np.array_equal(layers[2].keys, layer(2).keys)  # type: ignore[arg-type]
    assert np.array_equal(layers[2].pins[1], layer(2).pins[1])
    assert blobs.read_bytes < 2**16 + 4 * 300 * 503 + 1


def test_a_long_header_is_read_to_its_end(blobs: Counted) -> None:
    _, header = read_delta(blobs, put(blobs, "x" * 200_000), FINGERPRINT, parts=CHANGE)
    assert len(header["note"]) == 200_000


def test_what_is_no_such_delta_is_refused(blobs: Counted) -> None:
    name = put(blobs)
    with pytest.raises(BlobCorruptError, match="another base model"):
        read_delta(blobs, name, "0" * 64, parts=CHANGE)
    with pytest.raises(BlobCorruptError, match="not a safetensors file of ours"):
        read_delta(blobs, blobs.put(b"no such file"), FINGERPRINT, parts=CHANGE)
    content = blobs.path(name).read_bytes()
    blobs.path(name).write_bytes(content[: len(content) - 100])
    with pytest.raises(BlobCorruptError, match="ends 100 bytes early"):
        read_delta(blobs, name, FINGERPRINT)
    blobs.path(name).unlink()
    with pytest.raises(BlobMissingError, match=name):
        read_delta(blobs, name, FINGERPRINT)
