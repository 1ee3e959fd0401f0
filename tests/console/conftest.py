"""What the console's tests stand on: its source with its packages, and the fixtures of an API in this process."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree

import pytest

from tests.end_to_end.conftest import tiny_model as tiny_model
from tests.service.conftest import api as api
from tests.service.conftest import model as model
from tests.service.conftest import serve as serve
from tests.service.conftest import settings as settings
from tests.service.conftest import tokenizer as tokenizer
from tests.support.programs import missing, program

SOURCE = Path(__file__).parents[2] / "console"
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'Lyon. ' + message['content'] }}"
    "{% else %}{{ ' is ' + message['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %} is{% endif %}"
)
"""In words that the tiny model knows."""


@pytest.fixture(scope="session")
def talking_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a chat template, so that it can be asked in conversation."""
    folder = tmp_path_factory.mktemp("models") / "talking"
    copytree(tiny_model, folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": CHAT_TEMPLATE}))
    return folder


@pytest.fixture(scope="session")
def source() -> Path:
    """The folder of the console's source. Skips, or fails where tools are required, without Node or the packages."""
    program("node")
    program("npm")
    if not (SOURCE / "node_modules" / "vite").is_dir():
        missing("the console's packages", "npm ci --prefix console")
    return SOURCE
