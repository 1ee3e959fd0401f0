"""Run lm-eval on a served model: `run_lm_eval.py ORDER.json RESULT.json`.

Whatever interpreter has the harness runs this file, so that it imports nothing else of the project. It writes
{"harness", "results"}, or {"unknown": [task], "near": {task: [name]}} for tasks that the harness does not have.
"""

from __future__ import annotations

import difflib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main(order_file: str, result_file: str) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    order = json.loads(Path(order_file).read_text())
    folder = order["task_folder"]
    manager = TaskManager(include_path=folder, include_defaults=False) if folder is not None else None
    # To read the definitions of the thousands of tasks that come with the harness takes long.
    if manager is None or any(name not in manager.all_tasks for name in order["tasks"]):
        manager = TaskManager(include_path=folder)
    unknown = [name for name in order["tasks"] if name not in manager.all_tasks]
    if unknown:
        near = {name: difflib.get_close_matches(name, manager.all_tasks, 3) for name in unknown}
        Path(result_file).write_text(json.dumps({"unknown": unknown, "near": near}))
        return
    found = simple_evaluate(
        "local-completions",
        model_args=order["model_args"],
        tasks=order["tasks"],
        task_manager=manager,
        limit=order["limit"],
        num_fewshot=order["num_fewshot"],
        batch_size=order["batch_size"],
        log_samples=False,
    )
    Path(result_file).write_text(json.dumps({"harness": version("lm_eval"), "results": _results(found)}))


def _results(found: dict[str, Any]) -> dict[str, Any]:
    """As the service keeps them: {task: {"n", "version", "measures": {name: {"value", "stderr", …}}}}."""
    results = {}
    for task, values in found["results"].items():
        better = (found.get("higher_is_better") or {}).get(task) or {}
        measures: dict[str, Any] = {}
        for key, value in values.items():
            metric, comma, kind = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            stderr = values.get(f"{metric}_stderr,{kind}")
            measures[metric if kind == "none" else key] = {
                "value": float(value),
                "stderr": float(stderr) if isinstance(stderr, int | float) and stderr >= 0 else None,
                "higher_is_better": better.get(metric),
            }
        counted = (found.get("n-samples") or {}).get(task) or {}
        written = (found.get("versions") or {}).get(task)
        if measures:
            results[task] = {
                "n": counted.get("effective"),
                "version": None if written is None else str(written),
                "measures": measures,
            }
    return results


if __name__ == "__main__":
    del sys.path[0]  # this folder, whose modules shall not stand before the harness's own
    main(*sys.argv[1:])
