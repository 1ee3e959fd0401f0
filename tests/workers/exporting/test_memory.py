"""An adapter of a deep lineage is made in the memory that is planned for it, however many versions there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from tests.workers.conftest import Place
from tests.workers.exporting.test_formats import exported_version
from workers.exporting.formats import WRITERS
from workers.memory_plan.exporting import adapter_bytes
from workers.memory_plan.request import PlanRequest
from workers.weights.deltas import LayerDelta

LAYERS, D_IN, D_OUT = 2, 2048, 512
VERSIONS, RANK = 200, 8
SLACK = 8 * 2**20
"""What the allocator keeps and the interpreter takes: less than one matrix in float64."""
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def lineage() -> Iterator[Mapping[int, LayerDelta]]:
    """A version after the other, as they are read: together of three times the rank that a matrix can have."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(VERSIONS):
        yield {
            layer: LayerDelta(
                layer,
                torch.randn(RANK, D_IN, generator=generator),
                torch.randn(D_OUT, RANK, generator=generator) / 100,
                None,
            )
            for layer in range(LAYERS)
        }


def resident(name: str) -> int:
    """VmRSS, or VmHWM, the highest since it was reset, in bytes."""
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.parametrize("format", ["peft", "gguf-lora"])
def test_an_adapter_of_200_versions_is_made_within_the_plan(format: str, two_versions: Place, tmp_path: Path) -> None:
    version = exported_version(two_versions, deltas=lineage)
    WRITERS[format](exported_version(two_versions), tmp_path / "first")  # type: ignore[index]  # libraries are loaded
    try:
        before = resident("VmRSS")
        _RESET.write_text("5")
    except OSError:
        pytest.skip("the kernel does not reset a process's peak")
    report = WRITERS[format](version, tmp_path / "file")  # type: ignore[index]
    peak = resident("VmHWM") - before
    assert report["full_rank"] == D_OUT
    shapes = SimpleNamespace(layers=LAYERS, d_in=D_IN, d_out=D_OUT)
    delta = LAYERS * RANK * (D_IN + D_OUT) * 4
    assert peak <= adapter_bytes(cast(PlanRequest, shapes)) + 2 * delta + SLACK, f"{peak / 2**20:.1f} MiB"
