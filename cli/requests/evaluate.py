"""`emmetd evaluate`: measure a version on facts, beside another one where asked."""

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
    of: Annotated[
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
    if facts is not None and of is not None:
        raise typer.BadParameter("a file and --facts-of both say what to measure on; give one of them")
    names = None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()]
    if facts is None and of is None and names != ["drift"]:
        raise typer.BadParameter("give a file of facts, --facts-of, or --metrics drift, which needs neither")
    file = None if facts is None else facts_of(facts)
    asked: dict[str, Any] = {"metrics": names, "compare_with": compare, "facts_of": of, "sample": sample, "seed": seed}
    with connected(url, key, file) as client:
        job = client.evaluations.create(model=reference, facts=None if file is None else file.facts, **asked)
        if wait:
            awaited_job(job, timeout, as_json, _drawn)
        elif as_json:
            show_json(job)
        else:
            typer.echo(f"{job.id} is {job.state}: GET /v1/evaluations/{job.id} has its measurements")


def _drawn(job: Any) -> Any:
    return job.table()
