"""`emmetd bench`: how fast this machine is at what emmetd does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.terminal.options import ConfigFile, DataFolder, ModelRef

bench = typer.Typer(
    help="Measure how fast this machine is at what emmetd does.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@bench.callback()
def _bench() -> None:
    """Keeps `values` a command of its own while it is the only one."""


@bench.command()
def values(
    facts: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Facts, a JSON object to a line: the API's own shape, CounterFact's or zsRE's."
        ),
    ],
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="JSON file for the figures.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Facts that are optimised together.")] = 64,
    plain: Annotated[int, typer.Option(min=1, metavar="N", help="Facts of them that the plain way optimises.")] = 12,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Optimiser steps of both.")] = 20,
    bfloat16: Annotated[bool, typer.Option(help="Measure the model in bfloat16 too.")] = True,
    seed: Annotated[int, typer.Option(metavar="N", help="Which facts are drawn.")] = 0,
    model: ModelRef = None,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Find the values of facts, the plain way one by one and ours together, in one run.

    \b
    Example:
      emmetd bench values --facts counterfact.jsonl --limit 64 --output values.json
    """
    from cli.commands.worker import set_thread_environment
    from cli.terminal.errors import InputFileError
    from configuration.errors import ConfigurationError
    from configuration.settings import load_settings

    settings = load_settings(model=model, data=data, config=config)
    set_thread_environment(settings)
    if output is not None:
        try:  # now rather than after minutes of measuring
            output.absolute().parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputFileError(f"--output {str(output)!r}: its folder cannot be made: {error.strerror}") from None

    from benchmarks import values as benchmark
    from benchmarks.facts import FactsFileError
    from editing.errors import ModelLoadError, UnsupportedModelError
    from workers.process.shown_progress import ShownProgress

    try:
        with ShownProgress() as progress:
            result = benchmark.run(
                facts,
                limit,
                output,
                model=settings.model,
                data=settings.data,
                token=settings.hf_token.get_secret_value() if settings.hf_token else None,
                steps=steps,
                plain_facts=plain,
                half_precision=bfloat16,
                seed=seed,
                on_progress=progress,
            )
    except FactsFileError as error:
        raise InputFileError(f"--facts: {error}") from None
    except (ModelLoadError, UnsupportedModelError) as error:
        raise ConfigurationError(f"model = {settings.model!r}: {error}") from error
    benchmark.show(result)
