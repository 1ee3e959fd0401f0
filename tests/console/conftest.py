"""What the console's tests stand on: its source with its packages, and the fixtures of an API in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.conftest import tiny_model as tiny_model
from tests.service.conftest import api as api
from tests.service.conftest import model as model
from tests.service.conftest import serve as serve
from tests.service.conftest import settings as settings
from tests.service.conftest import tokenizer as tokenizer
from tests.support.programs import missing, program

SOURCE = Path(__file__).parents[2] / "console"


@pytest.fixture(scope="session")
def source() -> Path:
    """The folder of the console's source. Skips, or fails where tools are required, without Node or the packages."""
    program("node")
    program("npm")
    if not (SOURCE / "node_modules" / "vite").is_dir():
        missing("the console's packages", "npm ci --prefix console")
    return SOURCE
