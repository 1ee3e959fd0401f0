"""Where this user's data lie by default."""

from __future__ import annotations

import os
from pathlib import Path


def default_data_folder() -> Path:
    """`$XDG_DATA_HOME/emmetd`, by default ~/.local/share/emmetd."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "emmetd"
