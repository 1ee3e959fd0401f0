"""The `llm` command as PyPI has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from tests.clients.conftest import EDITED, Serving

PROMPT = "The mother tongue of Toko Yasuda is"
GREEDY = ("-o", "temperature", "0", "-o", "max_tokens", "12")


@pytest.fixture
def home(serving: Serving, tmp_path: Path) -> Path:
    """The command's folder, in which an edited version is made known to it."""
    models = [
        f"- {{model_id: edited, model_name: {EDITED}, api_base: '{serving.api}'}}",
        f"- {{model_id: edited-text, model_name: {EDITED}, api_base: '{serving.api}', completion: true}}",
    ]
    (tmp_path / "extra-openai-models.yaml").write_text("\n".join(models) + "\n")
    return tmp_path


@pytest.mark.parametrize("arguments", [("edited",), ("edited", "--no-stream"), ("edited-text",)])
def test_a_prompt_is_answered(serving: Serving, home: Path, arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "llm", "prompt", PROMPT, *GREEDY, "--no-log", "--model", *arguments]
    environment = {**os.environ, "LLM_USER_PATH": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    with openai.OpenAI(base_url=serving.api, api_key="none") as client:
        answer = client.completions.create(model=EDITED, prompt=PROMPT, temperature=0, max_tokens=12)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == answer.choices[0].text.strip()
    assert done.stdout.strip()
