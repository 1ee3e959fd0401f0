"""lm-eval over the service's own completions API: what is asked of it, and what came of that."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cli.terminal.errors import HarnessError

_RUNNER: Final = Path(__file__).with_name("run_lm_eval.py")
_LINES_SHOWN: Final = 8


@dataclass(frozen=True)
class Order:
    """`task_folder` has definitions of the operator's own; `model_args` are the harness's, beside those made here."""

    tasks: Sequence[str]
    task_folder: Path | None = None
    limit: int | None = None
    num_fewshot: int | None = None
    batch_size: int = 8
    model_args: dict[str, Any] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What tells results apart, as it is kept with them."""
        given = {"limit": self.limit, "num_fewshot": self.num_fewshot}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Measured:
    """`results` by task, in the shape that the service keeps; `version` is the harness's."""

    version: str
    results: dict[str, Any]


def measure(
    python: Path, order: Order, *, base_url: str, reference: str, context_length: int | None, api_key: str | None
) -> Measured:
    """Run the harness on the model `reference` of the server. Raises HarnessError with what it last said."""
    arguments = {"model": reference, "base_url": f"{base_url.rstrip('/')}/v1/completions", **(order.model_args or {})}
    if context_length is not None:
        arguments.setdefault("max_length", context_length)
    with tempfile.TemporaryDirectory(prefix="emmetd-lm-eval-") as folder:
        asked, told = Path(folder) / "order.json", Path(folder) / "result.json"
        written = {
            "tasks": list(order.tasks),
            "task_folder": None if order.task_folder is None else str(order.task_folder.resolve()),
            "limit": order.limit,
            "num_fewshot": order.num_fewshot,
            "batch_size": order.batch_size,
            "model_args": arguments,
        }
        asked.write_text(json.dumps(written))
        # The key travels in the environment, which other users of the machine cannot see.
        environment = {**os.environ, "OPENAI_API_KEY": api_key or "none", "TOKENIZERS_PARALLELISM": "false"}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [str(python), str(_RUNNER), str(asked), str(told)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not told.is_file():
            said = "\n".join(done.stderr.strip().splitlines()[-_LINES_SHOWN:])
            raise HarnessError(f"lm-eval ended with {done.returncode}; it last said:\n{said}")
        found = json.loads(told.read_text())
    if "unknown" in found:
        raise HarnessError(_unknown(found["unknown"], found["near"]))
    if not found["results"]:
        raise HarnessError("lm-eval measured nothing; look at the tasks' metric_list")
    return Measured(found["harness"], found["results"])


def _unknown(tasks: Sequence[str], near: dict[str, list[str]]) -> str:
    said = []
    for task in tasks:
        names = f"; near it: {', '.join(near[task])}" if near.get(task) else ""
        said.append(f"lm-eval knows no task {task!r}{names}")
    return "\n".join([*said, "name those that it has, or give a folder with definitions with --task-folder"])
