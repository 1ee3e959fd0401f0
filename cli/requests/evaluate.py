"""`emmetd evaluate`: asks a running server, over HTTP, to measure a version on facts, beside another where asked.

Nothing is measured here: this turns options into one `POST /v1/evaluations` and shows the job that comes of it.
`cli/main.py` registers it; what it shares with other requests is in `cli/terminal/served.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.downstream.harness import Order
from cli.requests.downstream import evaluate_tasks
from cli.terminal.served import (
    AsJson,
    Key,
    Reference,
    Timeout,
    Url,
    awaited_job,
    connected,
    facts_of,
    pairs,
    show_json,
)


def evaluate(
    reference: Reference,
    facts: Annotated[
        str | None, typer.Argument(metavar="[FACTS.jsonl]", help="A JSON object on each line.", show_default=False)
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="ES,PS,…", help="Which; separated by commas.", show_default="the server's"),
    ] = None,
    compare: Annotated[
        str | None, typer.Option("--compare", metavar="VERSION,…", help="Measure these versions too: v0, an alias.")
    ] = None,
    lineage: Annotated[
        str | None,
        typer.Option("--facts-of", metavar="VERSION", help="In place of a file: facts in force in a lineage."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="So many of them.", show_default="the server's")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", metavar="T1,T2,…", help="In place of facts: tasks of lm-eval, whose results are kept."),
    ] = None,
    task_folder: Annotated[
        Path | None,
        typer.Option("--task-folder", metavar="DIR", help="Definitions of own tasks.", exists=True, file_okay=False),
    ] = None,
    harness: Annotated[
        str | None,
        typer.Option(
            "--harness", metavar="PYTHON", help="One that has lm-eval[api].", show_default="an environment made once"
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Samples of each task.", show_default="all"),
    ] = None,
    fewshot: Annotated[
        int | None,
        typer.Option("--fewshot", min=0, metavar="N", help="Examples before each question.", show_default="the task's"),
    ] = None,
    harness_arguments: Annotated[
        list[str] | None,
        typer.Option("--harness-arg", metavar="NAME=VALUE", help="A model argument of lm-eval's.", show_default=False),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write the page of the evaluation there.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Which of them.", show_default="0")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the measurements.")] = True,
    timeout: Timeout = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Measure a version on facts of a file, or on those that its lineage says. Drift alone needs neither.

    With --tasks, lm-eval measures it over the server's own API, and its results are kept with the version.

    \b
    Examples:
      emmetd evaluate smollm2-135m@v1 corrections.jsonl --metrics ES,PS,NS,S --compare v0
      emmetd evaluate smollm2-135m --facts-of latest --sample 200 --metrics EM,GA
      emmetd evaluate smollm2-135m@v1 --tasks arc_easy,piqa --compare v0 --limit 200
    """
    compared = [one.strip() for one in (compare or "").split(",") if one.strip()]
    if tasks is not None:
        if facts is not None or lineage is not None or metrics is not None:
            raise typer.BadParameter("--tasks measures without facts; leave out the file, --facts-of and --metrics")
        names = [name.strip() for name in tasks.split(",") if name.strip()]
        order = Order(names, task_folder, limit, fewshot, model_args=pairs(harness_arguments or [], "--harness-arg"))
        evaluate_tasks(reference, compared, order, harness, as_json, url, key)
        return
    if facts is not None and lineage is not None:
        raise typer.BadParameter("a file and --facts-of both say what to measure on; give one of them")
    metric_names = None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()]
    if facts is None and lineage is None and metric_names != ["drift"]:
        raise typer.BadParameter("give a file of facts, --facts-of, or --metrics drift, which needs neither")
    facts_file = None if facts is None else facts_of(facts)
    # What is None here is the server's to choose.
    options: dict[str, Any] = {
        "metrics": metric_names,
        "compare_with": compared[0] if len(compared) == 1 else compared or None,
        "facts_of": lineage,
        "sample": sample,
        "seed": seed,
    }
    with connected(url, key, facts_file) as client:
        sent_facts = None if facts_file is None else facts_file.facts
        job = client.evaluations.create(model=reference, facts=sent_facts, **options)
        if wait or report is not None:
            awaited_job(job, timeout, as_json)
            if report is not None:
                report.write_text(job.report(), encoding="utf-8")
        elif as_json:
            show_json(job)
        else:
            typer.echo(f"{job.id} is {job.state}: GET /v1/evaluations/{job.id} has its measurements")
