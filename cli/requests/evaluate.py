"""`emmetd evaluate`: asks a running server, over HTTP, to measure a version on facts, beside another where asked.

Nothing is measured here: this turns options into one `POST /v1/evaluations` and shows the job that comes of it.
`cli/main.py` registers it; what it shares with other requests is in `cli/terminal/served.py`.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.terminal.served import (
    AsJson,
    Key,
    Reference,
    Timeout,
    Url,
    awaited_job,
    connected,
    facts_of,
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
        str | None, typer.Option("--compare", metavar="VERSION", help="Measure this version too: v0, an alias.")
    ] = None,
    lineage: Annotated[
        str | None,
        typer.Option("--facts-of", metavar="VERSION", help="In place of a file: facts in force in a lineage."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="So many of them.", show_default="the server's")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Which of them.", show_default="0")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the measurements.")] = True,
    timeout: Timeout = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Measure a version on facts of a file, or on those that its lineage says. Drift alone needs neither.

    \b
    Examples:
      emmetd evaluate smollm2-135m@v1 corrections.jsonl --metrics ES,PS,NS,S --compare v0
      emmetd evaluate smollm2-135m --facts-of latest --sample 200 --metrics EM,GA
    """
    if facts is not None and lineage is not None:
        raise typer.BadParameter("a file and --facts-of both say what to measure on; give one of them")
    metric_names = None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()]
    if facts is None and lineage is None and metric_names != ["drift"]:
        raise typer.BadParameter("give a file of facts, --facts-of, or --metrics drift, which needs neither")
    facts_file = None if facts is None else facts_of(facts)
    # What is None here is the server's to choose.
    options: dict[str, Any] = {
        "metrics": metric_names,
        "compare_with": compare,
        "facts_of": lineage,
        "sample": sample,
        "seed": seed,
    }
    with connected(url, key, facts_file) as client:
        sent_facts = None if facts_file is None else facts_file.facts
        job = client.evaluations.create(model=reference, facts=sent_facts, **options)
        if wait:
            awaited_job(job, timeout, as_json)
        elif as_json:
            show_json(job)
        else:
            typer.echo(f"{job.id} is {job.state}: GET /v1/evaluations/{job.id} has its measurements")
