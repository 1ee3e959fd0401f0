"""`emmetd doctor`: look at everything that emmetd stands on, and say what to do about what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cli.terminal.options import ConfigFile, DataFolder, ModelRef

if TYPE_CHECKING:
    from cli.commands.checks import Finding
    from configuration.settings import Settings


def doctor(
    model: ModelRef = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on each line.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every blob and compare it with its hash.")] = False,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Check installation, database, Redis, store, model, C0, GPU, clocks and disk. Changes nothing.

    Exits with 1 where something fails; a warning is no failure.

    \b
    Examples:
      emmetd doctor
      emmetd doctor --json --deep
    """
    from configuration.settings import load_settings

    settings = load_settings(model=model, data=data, config=config)
    failed = False
    for finding in _findings(settings, deep=deep):
        failed |= finding.level == "fail"
        if as_json:
            typer.echo(json.dumps(finding.as_dict()))
        else:
            typer.echo(f"{finding.level:4}  {finding.subject:12}  {finding.found}")
            if finding.remedy:
                typer.echo(f"{'':20}→ {finding.remedy}")
    raise typer.Exit(int(failed))


def _findings(settings: Settings, *, deep: bool) -> Iterator[Finding]:
    from cli.commands.checks import CHECKS, Finding, store_holds_together

    for name, check in CHECKS.items():
        try:
            yield from check(settings)
        except Exception as error:  # a check that breaks off must not hide the others
            yield Finding("fail", name, f"could not be looked at: {type(error).__name__}: {error}")
    yield from store_holds_together(settings, deep=deep)
