"""The subcommands of `emmetd versions` that ask a server, but for those on descriptions and tags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.requests.version_notes import describe
from cli.terminal.served import (
    AsJson,
    Key,
    ModelArgument,
    Reference,
    Timeout,
    Url,
    Wait,
    awaited_job,
    connected,
    pairs,
    show_json,
    show_table,
)

ON_A_SERVER = "On a server (EMMETD_URL)"
_Version = Annotated[str, typer.Argument(metavar="VERSION", help="Such as v1, or an alias.", show_default=False)]
_Label = Annotated[str | None, typer.Option("--label", help="A note beside the new version.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Everything but publishing.")]
_Thresholds = Annotated[
    list[str], typer.Option("--threshold", metavar="NAME=VALUE", help="Such as drift=1.1.", show_default=False)
]


def add_to(group: typer.Typer) -> None:
    """`group` is that of the commands which work on the store itself."""
    for name, command in (
        ("list", list_),
        ("show", show),
        ("describe", describe),
        ("diff", diff),
        ("lineage", lineage),
        ("revert", revert),
        ("consolidate", consolidate),
        ("export", export),
    ):
        group.command(name, rich_help_panel=ON_A_SERVER)(command)


def list_(
    model: ModelArgument,
    tag: Annotated[str | None, typer.Option("--tag", help="Only those with this tag.", show_default="all")] = None,
    search: Annotated[
        str | None,
        typer.Option("--search", metavar="TEXT", help="Only those with it in label, description or tags."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Versions, at most.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """List the versions of a model, newest first.

    \b
    Examples:
      emmetd versions list smollm2-135m
      emmetd versions list smollm2-135m --tag legal --search november
    """
    with connected(url, key) as client:
        listing = client.versions.list(model, tag=tag, search=search, page_size=min(limit, 1000))
        found = listing.to_list(limit)
    if as_json:
        for one in found:
            show_json(one)
        return
    from emmetd_client import versions_table

    show_table(versions_table(found))


def show(
    reference: Reference,
    facts: Annotated[bool, typer.Option("--facts", help="The facts of its lineage too.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show a version: what it is made of and what was measured.

    \b
    Example:
      emmetd versions show smollm2-135m@v3 --facts
    """
    with connected(url, key) as client:
        version = client.versions.get(reference)
        said = client.versions.facts(version.model, version.version).to_list() if facts else []
    if as_json:
        show_json(version)
        for fact in said:
            show_json(fact)
        return
    from emmetd_client import Table, version_table

    show_table(version_table(version))
    if facts:
        rows = [
            (fact.version, str(fact.index), fact.state, fact.prompt.replace("{}", fact.subject), fact.target_new)
            for fact in said
        ]
        show_table(Table(("version", "index", "state", "prompt", "answer"), rows))


def diff(
    model: ModelArgument,
    before: _Version,
    after: _Version,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Facts of either, at most.")] = 100,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show what lies between two versions: facts that came and went, and the weights.

    \b
    Example:
      emmetd versions diff smollm2-135m v1 v3
    """
    with connected(url, key) as client:
        found = client.diffs.get(model, before, after, limit=limit)
    if as_json:
        show_json(found)
    else:
        show_table(found.table())


def lineage(reference: Reference, as_json: AsJson = False, url: Url = None, key: Key = None) -> None:
    """Show how a line has worn: drift, retained facts and sizes of all that a version is made of, oldest first.

    \b
    Example:
      emmetd versions lineage smollm2-135m
    """
    with connected(url, key) as client:
        found = client.versions.lineage(reference).to_list()
    if as_json:
        for one in found:
            show_json(one)
        return
    from emmetd_client import lineage_table

    show_table(lineage_table(found))


def revert(
    reference: Reference,
    facts: Annotated[
        list[int],
        typer.Option(
            "--fact", min=0, metavar="N", help="Index in the batch of --of; may be repeated.", show_default=False
        ),
    ] = [],  # noqa: B006 - typer copies it
    of: Annotated[
        str | None,
        typer.Option("--of", metavar="VERSION", help="Whose batch --fact counts in.", show_default="the one named"),
    ] = None,
    edits: Annotated[
        list[str], typer.Option("--edit", metavar="ID", help="A whole batch; may be repeated.", show_default=False)
    ] = [],  # noqa: B006
    label: _Label = None,
    thresholds: _Thresholds = [],  # noqa: B006
    dry_run: _DryRun = False,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Take facts out of a version: what is left becomes a new version, and this one stays.

    \b
    Examples:
      emmetd versions revert smollm2-135m@v1 --fact 0 --fact 3 --wait
      emmetd versions revert smollm2-135m --edit edit_01kah3v0d5m8
    """
    if not facts and not edits:
        raise typer.BadParameter("names nothing to take out; give --fact, --edit, or both")
    asked: dict[str, Any] = {
        "facts": facts or None,
        "of": of,
        "edits": edits or None,
        "label": label,
        "thresholds": pairs(thresholds, "--threshold"),
        "dry_run": dry_run or None,
    }
    with connected(url, key) as client:
        _accepted(client.versions.revert(reference, **asked), wait, timeout, as_json)


def consolidate(
    reference: Reference,
    algorithm: Annotated[
        str | None, typer.Option("--algorithm", metavar="NAME", help="The method.", show_default="emmet")
    ] = None,
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as layers=[8].", show_default=False),
    ] = [],  # noqa: B006 - typer copies it
    label: _Label = None,
    thresholds: _Thresholds = [],  # noqa: B006
    dry_run: _DryRun = False,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Solve all facts that a version says anew, as one batch from the base. No alias moves by itself.

    \b
    Example:
      emmetd versions consolidate smollm2-135m --wait
    """
    asked: dict[str, Any] = {
        "algorithm": algorithm,
        "settings": pairs(settings, "--set"),
        "label": label,
        "thresholds": pairs(thresholds, "--threshold"),
        "dry_run": dry_run or None,
    }
    with connected(url, key) as client:
        _accepted(client.versions.consolidate(reference, **asked), wait, timeout, as_json)


def export(
    reference: Reference,
    to: Annotated[Path, typer.Option("--to", metavar="PATH", help="A file or a folder.", show_default="here")] = Path(),
    format: Annotated[
        str | None,
        typer.Option("--format", help="peft, merged, hf or gguf-lora.", show_default="peft"),
    ] = None,
    max_rank: Annotated[
        int | None, typer.Option("--max-rank", min=1, metavar="N", help="Of an adapter.", show_default="512")
    ] = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Have a version made into a file for other programs, and fetch it.

    \b
    Example:
      emmetd versions export smollm2-135m@v3 --format peft --to adapters/
    """
    with connected(url, key) as client:
        file = client.exports.download(
            reference, to=to, format=format, max_rank=max_rank, on_progress=True, timeout=timeout
        )
    if as_json:
        show_json(file)
        return
    rank = "" if file.rank is None else f", rank {file.rank} of {file.full_rank}, error {file.error:.3g}"
    typer.echo(f"{file.path}: {file.version}, {file.size} bytes{rank}")


def _accepted(job: Any, wait: bool, timeout: float | None, as_json: bool) -> None:
    if wait:
        awaited_job(job, timeout, as_json)
    elif as_json:
        show_json(job)
    else:
        typer.echo(f"{job.id} is {job.state}; see how it is: emmetd edits show {job.id} --wait")
