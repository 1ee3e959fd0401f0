"""The device that a worker computes on: what is asked for and not there is told before anything is loaded."""

from __future__ import annotations

import pytest
import torch

from configuration.errors import ConfigurationError
from workers.process.capacity import device_of


def test_a_device_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("cuda") == torch.device("cuda")
    assert device_of("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(("name", "there"), [("cuda", 0), ("cuda:2", 2)])
def test_one_that_is_not(monkeypatch: pytest.MonkeyPatch, name: str, there: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(ConfigurationError, match=f"device = '{name}'.* sees {there} devices.*EMMETD_DEVICE=auto"):
        device_of(name)
