"""Tiny models in folders, for the real `emmetd serve` to load."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.saved_models import save_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the same shape, with other weights."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "other", seed=1)
