"""The data folder: made when missing, held by one, let go in the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.terminal.data_folder import held_data_folder
from cli.terminal.errors import DataFolderError


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    with held_data_folder(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()


def test_it_is_held_by_one_at_a_time_and_let_go(tmp_path: Path) -> None:
    with (
        held_data_folder(tmp_path),
        pytest.raises(DataFolderError, match=rf"pid {os.getpid()}.*--data"),
        held_data_folder(tmp_path),
    ):
        pass
    with held_data_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataFolderError, match=r"file/data cannot be written.*--data"),
        held_data_folder(tmp_path / "file" / "data"),
    ):
        pass
