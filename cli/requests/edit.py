"""`emmetd edit`: correct facts, from a file or one in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.terminal.served import (
    AsJson,
    Key,
    Timeout,
    Url,
    Wait,
    awaited_job,
    connected,
    facts_of,
    only_model,
    pairs,
    show_json,
)

if TYPE_CHECKING:
    from emmetd_client import FactsFile


def edit(
    facts: Annotated[
        str | None, typer.Argument(metavar="[FACTS.jsonl]", help="A JSON object on each line.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME[@v]", help="What to correct.", show_default="the server's only model"),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="In place of a file: a prompt with {} for the subject.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help='Whom the fact is about; "auto" takes it from a prompt without {}.')
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="What the model shall say next.")] = None,
    target_old: Annotated[str | None, typer.Option("--target-old", help="What it says today.")] = None,
    algorithm: Annotated[
        str | None, typer.Option("--algorithm", metavar="NAME", help="The method.", show_default="emmet")
    ] = None,
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as layers=[8].", show_default=False),
    ] = [],  # noqa: B006 - typer copies it
    thresholds: Annotated[
        list[str],
        typer.Option("--threshold", metavar="NAME=VALUE", help="On this batch, such as EM=0.8.", show_default=False),
    ] = [],  # noqa: B006
    budget: Annotated[
        list[str],
        typer.Option("--budget", metavar="NAME=VALUE", help="On its lineage, such as drift=1.2.", show_default=False),
    ] = [],  # noqa: B006
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Edit the other facts where some are wrong, and list those.")
    ] = False,
    label: Annotated[str | None, typer.Option("--label", help="A note beside the version.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Everything but publishing.")] = False,
    urgent: Annotated[bool, typer.Option("--urgent", help="Before those that wait.")] = False,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Correct facts: all of them become one new version of the model, or none does.

    A file has a fact on each line, in emmetd's shape, CounterFact's or zsRE's (or one JSON array of them).

    \b
    Examples:
      emmetd edit corrections.jsonl --model smollm2-135m --wait
      emmetd edit --prompt "The mother tongue of {} is" --subject "Danielle Darrieux" --target English --wait
    """
    told, file = _facts(facts, prompt, subject, target, target_old)
    batch: dict[str, Any] = {
        "algorithm": algorithm,
        "settings": pairs(settings, "--set"),
        "thresholds": pairs(thresholds, "--threshold"),
        "budget": pairs(budget, "--budget"),
        "invalid_facts": "skip" if skip_invalid else None,
        "label": label,
        "dry_run": dry_run or None,
        "urgent": urgent or None,
    }
    with connected(url, key, file) as client:
        job = client.edits.create(model=model or only_model(client), facts=told, **batch)
        if job.n_left_out and not as_json:
            for one in job.left_out():
                typer.echo(f"left out: {one.loc}: {one.msg}", err=True)
        if wait:
            awaited_job(job, timeout, as_json)
        elif as_json:
            show_json(job)
        else:
            typer.echo(f"{job.id} is {job.state}: {job.n_facts} facts on {job.model}")
            typer.echo(f"see how it is: emmetd edits show {job.id} --wait")


def _facts(
    path: str | None, prompt: str | None, subject: str | None, target: str | None, target_old: str | None
) -> tuple[list[dict[str, Any]], FactsFile | None]:
    """What is sent, and the file that it is from."""
    words = {"--prompt": prompt, "--subject": subject, "--target": target}
    if path is not None:
        named = [option for option, value in {**words, "--target-old": target_old}.items() if value is not None]
        if named:
            raise typer.BadParameter(f"a file and {named[0]} both say what to correct; give one of them")
        file = facts_of(path)
        return file.facts, file
    missing = [option for option, value in words.items() if value is None]
    if missing:
        raise typer.BadParameter(f"give a file of facts, or --prompt, --subject and --target (no {', '.join(missing)})")
    fact = {"prompt": prompt, "subject": subject, "target_new": target}
    return [fact if target_old is None else {**fact, "target_old": target_old}], None
