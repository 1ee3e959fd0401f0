"""`emmetd reproduce`: the paper's figures and table, measured on a model of one's own."""

from __future__ import annotations

import json
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.terminal.options import ConfigFile, DataFolder, ModelRef

MOST_FACTS, MOST_DRAWS = 20_000, 20


class PaperFigureName(StrEnum):
    """What can be measured anew."""

    FIGURE_3 = "figure3"
    FIGURE_4 = "figure4"
    TABLE_1 = "table1"
    SEQUENTIAL = "sequential"


def reproduce(
    figure: Annotated[PaperFigureName, typer.Argument(help="What to measure.", show_default=False)],
    facts: Annotated[Path, typer.Option(metavar="FILE", help="CounterFact's records, or facts of any known shape.")],
    output: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="For results.json, table.md and figure.svg, and what was done so far."),
    ],
    limit: Annotated[
        int, typer.Option(min=1, max=MOST_FACTS, metavar="N", help="Facts in each draw, with distinct subjects.")
    ] = 64,
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,…", help="Facts edited together.", show_default="1,4,16; 1 for table1, 64 for sequential"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=MOST_DRAWS, metavar="N", help="Draws of facts.")] = 3,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="For sequential: which lines, of those that the manual lists.",
            show_default="defaults,consolidated,unprotected,emmet_equality,memit,alphaedit",
        ),
    ] = None,
    ge: Annotated[bool, typer.Option("--ge", help="Measure GE for table1, too: texts of 100 tokens, slow.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: results.json on standard output.")] = False,
    model: ModelRef = None,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Measure figure 3 or 4 or table 1 of the EMMET paper (arXiv 2403.14236) anew, on any model.

    \b
    figure3  EMMET and MEMIT over batch sizes, in one layer
    figure4  the same, spread over several layers
    table1   ROME, MEMIT and EMMET on single facts, in one layer
    sequential  batches one on the other: which method keeps the earlier facts

    It runs in this process, with emmetd's defaults beside the paper's methods. What is measured is kept at once:
    stopped and started again with the same options, it goes on.

    \b
    Example:
      emmetd reproduce figure3 --facts counterfact.jsonl --output figure3 --limit 64 --batch-sizes 1,4,16 --seeds 3
    """
    sizes = _sizes(batch_sizes, figure, limit)
    lines = _line_methods(methods, figure)
    if ge and figure is not PaperFigureName.TABLE_1:
        raise typer.BadParameter(f"{figure.value} has no GE; only table1 has", param_hint="--ge")

    from cli.commands.worker import set_thread_environment
    from cli.terminal.errors import InputFileError, InterruptedCommandError
    from configuration.errors import ConfigurationError
    from configuration.settings import load_settings

    settings = load_settings(model=model, data=data, config=config)
    set_thread_environment(settings)
    try:  # now rather than after minutes of measuring
        output.mkdir(parents=True, exist_ok=True)
        (output / ".writable").touch()
        (output / ".writable").unlink()
    except OSError as error:
        raise InputFileError(f"--output {str(output)!r}: cannot be written to: {error.strerror}") from None

    from benchmarks.facts import FactsFileError, read_facts
    from benchmarks.paper.figures import FIGURES
    from benchmarks.paper.records import ReproductionError
    from benchmarks.paper.reproduce import Task
    from benchmarks.paper.reproduce import reproduce as measure
    from benchmarks.sequential.measure import LinesTask, measure_lines
    from editing.errors import EditingError, ModelLoadError, UnsupportedModelError
    from editing.model.loading import load_model
    from workers.process.capacity import device_of
    from workers.process.shown_progress import ShownProgress
    from workers.statistics.corpora import default_spec
    from workers.statistics.layer_statistics import LayerStatistics

    try:
        records = read_facts(facts)
        with ShownProgress() as progress:
            loaded = load_model(
                settings.model,
                cache=settings.data,
                device=device_of(settings.device),
                revision=settings.revision,
                token=settings.hf_token.get_secret_value() if settings.hf_token else None,
                rounded_products=settings.value_products == "auto",
                on_progress=progress,
            )
            statistics = LayerStatistics(loaded, settings.data, default_spec(settings))
            if figure is PaperFigureName.SEQUENTIAL:
                line_task = LinesTask(records, facts, limit, sizes[0], seeds, lines, _command())
                result = measure_lines(line_task, loaded, statistics, output, on_progress=progress)
            else:
                task = Task(
                    FIGURES[figure.value], records, facts, limit, sizes, seeds, with_entropy=ge, command=_command()
                )
                result = measure(task, loaded, statistics, output, on_progress=progress)
    except FactsFileError as error:
        raise InputFileError(f"--facts: {error}") from None
    except ReproductionError as error:
        raise InputFileError(str(error)) from None
    except (ModelLoadError, UnsupportedModelError) as error:
        raise ConfigurationError(f"model = {settings.model!r}: {error}") from error
    except EditingError as error:
        raise InputFileError(f"--facts {str(facts)!r}: {error}") from None
    except KeyboardInterrupt:
        raise InterruptedCommandError(
            f"stopped; what was measured is kept in {str(output)!r}, and the same command goes on"
        ) from None
    typer.echo(json.dumps(result, ensure_ascii=False) if as_json else (output / "table.md").read_text().rstrip())


def _sizes(written: str | None, figure: PaperFigureName, limit: int) -> tuple[int, ...]:
    """ "1,4,16" → (1, 4, 16), rising."""
    if written is None:
        if figure is PaperFigureName.SEQUENTIAL:
            return (min(64, limit),)
        return (1,) if figure is PaperFigureName.TABLE_1 else tuple(size for size in (1, 4, 16) if size <= limit)
    try:
        sizes = tuple(sorted({int(part) for part in written.split(",")}))
    except ValueError:
        raise typer.BadParameter(
            f"{written!r} is no list of numbers such as 1,4,16", param_hint="--batch-sizes"
        ) from None
    if sizes[0] < 1 or sizes[-1] > limit:
        raise typer.BadParameter(
            f"{written!r}: each must be from 1 to the number of facts (--limit {limit})", param_hint="--batch-sizes"
        )
    if figure is PaperFigureName.TABLE_1 and sizes != (1,):
        raise typer.BadParameter(f"{written!r}: table1 is of single edits; leave it out", param_hint="--batch-sizes")
    if figure is PaperFigureName.SEQUENTIAL and len(sizes) > 1:
        raise typer.BadParameter(f"{written!r}: a line has batches of one size; give one", param_hint="--batch-sizes")
    return sizes


def _line_methods(written: str | None, figure: PaperFigureName) -> tuple[str, ...]:
    """ "memit,defaults" → ("memit", "defaults")."""
    from benchmarks.sequential.methods import DEFAULT_METHODS, METHODS

    if written is None:
        return DEFAULT_METHODS
    if figure is not PaperFigureName.SEQUENTIAL:
        raise typer.BadParameter(
            f"{figure.value} has its own methods; only sequential takes them", param_hint="--methods"
        )
    names = tuple(dict.fromkeys(written.split(",")))
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise typer.BadParameter(
            f"there is no line {unknown[0]!r}; there are {', '.join(METHODS)}", param_hint="--methods"
        )
    return names


def _command() -> str:
    """As it was typed, for the page."""
    return shlex.join(["emmetd", *sys.argv[1:]])
