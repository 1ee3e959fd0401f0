"""Run lm-evaluation-harness as its documentation has it: `run_lm_eval.py TASKS OUTPUT {"MODEL": {ARGUMENT: …}, …}`.

In a process of its own, whose warnings are its own matter. Without the thousands of tasks that come with the harness:
to read their definitions takes longer than everything else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager


def main(tasks: str, output: str, models: str) -> None:
    manager = TaskManager(include_path=tasks, include_defaults=False)
    names = sorted(path.stem for path in Path(tasks).glob("*.yaml"))
    samples = {}
    for model, arguments in json.loads(models).items():
        found = simple_evaluate(
            model, model_args=arguments, tasks=names, task_manager=manager, batch_size=4, bootstrap_iters=0
        )
        samples[model] = found["samples"]
    Path(output).write_text(json.dumps(samples, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
