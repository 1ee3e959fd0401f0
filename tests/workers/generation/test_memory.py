"""What serving may take: what the settings say, or shares of what is free beside the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from configuration.settings import Settings
from workers.generation import memory
from workers.generation.memory import budgets, is_out_of_memory

GIB = 1024**3


@pytest.fixture(autouse=True)
def _free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 80 * GIB if device.type == "cuda" else 8 * GIB)


def test_the_shares_of_what_is_free_leave_room_for_editing(tmp_path: Path) -> None:
    on_cpu, on_gpu = (budgets(Settings(data=tmp_path), torch.device(name)) for name in ("cpu", "cuda"))
    assert (on_cpu.kv_cache, on_cpu.matrix_cache) == (2 * GIB, 1 * GIB)
    assert (on_gpu.kv_cache, on_gpu.matrix_cache) == (32 * GIB, 8 * GIB)


def test_settings_win(tmp_path: Path) -> None:
    found = budgets(Settings(data=tmp_path, kv_cache_bytes="3GiB", matrix_cache_bytes=7), torch.device("cuda"))
    assert (found.kv_cache, found.matrix_cache) == (3 * GIB, 7)


def test_a_cpu_worker_has_what_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert memory.free_memory(torch.device("cpu")) > 0


def test_memory_that_there_is_not_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
