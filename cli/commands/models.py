"""`emmetd models`: fetch a model and make its C0 before a worker needs them, and see what is there."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.terminal.options import ConfigFile, DataFolder, Revision

if TYPE_CHECKING:
    from configuration.settings import Settings
    from editing.covariance.statistics_store import StatisticSpec
    from editing.inventory import PreparedModel, PreparedStatistic
    from editing.model.loading import LoadedModel

models = typer.Typer(
    help="Fetch models, make their C0 statistics, and see what is there.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@models.command()
def prepare(
    reference: Annotated[
        str | None,
        typer.Argument(metavar="REF", help="A known name, a hub id or a folder.", show_default="the model to serve"),
    ] = None,
    revision: Revision = None,
    layers: Annotated[
        str | None, typer.Option(metavar="L,…", help="Layers, all in one pass.", show_default="those of default edits")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(metavar="NAME", help="self, or one of the setting `corpora`.", show_default="corpus")
    ] = None,
    text: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instead: a file of text, .jsonl or .parquet.")
    ] = None,
    field: Annotated[str, typer.Option(metavar="NAME", help="Where records of --text hold a document.")] = "text",
    tokens: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens of text.", show_default="corpus_tokens, or 10 × d_in")
    ] = None,
    multiplier: Annotated[
        float | None, typer.Option(min=0.01, metavar="X", help="Tokens as a multiple of d_in instead.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what memory a worker will take, and fetch and make nothing.")
    ] = False,
    as_json: AsJson = False,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Fetch or convert a model, take its fingerprint and make C0 of its layers. Interrupted, it goes on from there.

    \b
    Examples:
      emmetd models prepare smollm2-135m
      emmetd models prepare openai-community/gpt2-xl --layers 13,14,15,16,17 --text articles.jsonl --multiplier 10
      emmetd models prepare meta-llama/Llama-2-7b-hf --plan
    """
    from cli.commands.worker import set_thread_environment
    from configuration.errors import ConfigurationError
    from configuration.settings import load_settings
    from workers.process.shown_progress import ShownProgress

    if corpus is not None and text is not None:
        raise typer.BadParameter("--corpus and --text both say what C0 is made from; give one")
    if tokens is not None and multiplier is not None:
        raise typer.BadParameter("--tokens and --multiplier both say how much text is used; give one")
    numbers = None if layers is None else _numbers(layers)
    settings = load_settings(model=reference, revision=revision, data=data, config=config)
    set_thread_environment(settings)
    if plan:
        _show_plan(settings, numbers, as_json)
        return

    from cli.terminal.errors import InputFileError, InterruptedCommandError
    from editing.errors import CorpusError, EditInterrupted, ModelLoadError, StatisticError, UnsupportedModelError

    try:
        with ShownProgress() as progress:
            model = _load(settings, progress)
            request = _request(settings, model, corpus, text, field, tokens, multiplier)
            with _stopping() as should_stop:
                told = _prepare(settings, model, numbers, request, progress, should_stop)
    except EditInterrupted:
        raise InterruptedCommandError("stopped; what was summed up so far is kept, the same command goes on") from None
    except (CorpusError, StatisticError) as error:
        raise InputFileError(str(error)) from error
    except (ModelLoadError, UnsupportedModelError) as error:
        raise ConfigurationError(f"model = {settings.model!r}: {error}") from error
    typer.echo(json.dumps(told, indent=1) if as_json else _told(told))


@models.command("list")
def list_models(
    reference: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this model.")] = None,
    as_json: AsJson = False,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Show which models and statistics the data folder holds.

    \b
    Example:
      emmetd models list
    """
    from cli.terminal.errors import InputFileError
    from configuration.settings import load_settings
    from editing.inventory import prepared_models, prepared_statistics

    folder = load_settings(data=data, config=config).data
    found = [model for model in prepared_models(folder) if reference in (None, model.name)]
    if reference is not None and not found:
        known = ", ".join(model.name for model in prepared_models(folder)) or "none"
        raise InputFileError(f"no model {reference!r} in {folder}; there: {known}")
    statistics = prepared_statistics(folder / "statistics")
    if as_json:
        rows = [_row(model, statistics) for model in found]
        typer.echo(json.dumps(rows, indent=1, default=str))
        return
    if not found:
        typer.echo(f"nothing is prepared in {folder}; start with: emmetd models prepare")
    for model in found:
        typer.echo(f"{model.name}  {model.bytes / 1e6:.0f} MB  from {model.source}")
        for dtype, fingerprint in model.weights.items():
            typer.echo(f"  {dtype}, weights {fingerprint[:12]}…")
            for one in _of(fingerprint, statistics):
                typer.echo("    " + _line(asdict(one)))


def _show_plan(settings: Settings, layers: tuple[int, ...] | None, as_json: bool) -> None:
    """What memory a worker will take; exits with 1 where it does not fit."""
    from cli.terminal.memory_table import memory_table
    from configuration.errors import ConfigurationError
    from editing.errors import ModelLoadError, UnsupportedModelError
    from workers.memory_plan.configured import planned_worker
    from workers.process.capacity import device_of, dtype_of

    device = device_of(settings.device)
    try:
        planned = planned_worker(settings, device, dtype_of(settings.dtype, device), layers)
    except (ModelLoadError, UnsupportedModelError) as error:
        raise ConfigurationError(f"model = {settings.model!r}: {error}") from error
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(json.dumps(planned.as_dict(), indent=1) if as_json else "\n".join(memory_table(planned)))
    raise typer.Exit(0 if planned.plan.fits else 1)


def _load(settings: Settings, progress: Any) -> LoadedModel:
    from editing.model.loading import load_model
    from workers.process.capacity import device_of, dtype_of

    device = device_of(settings.device)
    return load_model(
        settings.model,
        cache=settings.data,
        name=settings.served_model_name,
        device=device,
        dtype=dtype_of(settings.dtype, device),
        revision=settings.revision,
        token=settings.hf_token.get_secret_value() if settings.hf_token else None,
        on_progress=progress,
    )


def _request(
    settings: Settings,
    model: LoadedModel,
    corpus: str | None,
    text: Path | None,
    field: str,
    tokens: int | None,
    multiplier: float | None,
) -> StatisticSpec:
    from editing.covariance.statistics_store import StatisticSpec
    from editing.covariance.text_corpora import TextFile
    from workers.statistics.corpora import corpus_named, default_spec

    default = default_spec(settings)
    if multiplier is not None:
        tokens = round(multiplier * model.shape.d_in)
    if text is not None:
        return StatisticSpec(TextFile(text, field), tokens)
    if corpus is None or corpus == settings.corpus:
        return StatisticSpec(default.corpus, default.tokens if tokens is None else tokens)
    return StatisticSpec(corpus_named(settings, corpus), tokens)


def _prepare(
    settings: Settings,
    model: LoadedModel,
    layers: tuple[int, ...] | None,
    request: StatisticSpec,
    progress: Any,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    from workers.statistics.corpora import default_spec
    from workers.statistics.layer_statistics import LayerStatistics
    from workers.tasks.prepare_statistic import described

    default = default_spec(settings)
    statistics = LayerStatistics(model, settings.data, default)
    started = time.monotonic()
    made = statistics.prepare(layers or statistics.default_layers(), request, progress, should_stop)
    seconds = time.monotonic() - started
    if request == default:
        statistics.held_out(progress, should_stop)
    return {
        "model": model.name,
        "source": model.source,
        "folder": str(model.folder),
        "dtype": str(model.dtype).removeprefix("torch."),
        "fingerprint": model.fingerprint,
        "seconds": round(seconds, 3),
        "layers": [described(made[layer]) for layer in sorted(made)],
        "used_by_edits": request == default,
    }


def _told(told: dict[str, Any]) -> str:
    source = ", ".join(f"{key} {value}" for key, value in told["source"].items())
    lines = [
        f"{told['model']}: {source}",
        f"{told['dtype']}, weights {told['fingerprint']}",
        *(_line(layer) for layer in told["layers"]),
        f"{told['seconds']:.1f} s; "
        + (
            "edits use these"
            if told["used_by_edits"]
            else "edits use these once the settings corpus and corpus_tokens say so"
        ),
    ]
    return "\n".join(lines)


def _line(one: dict[str, Any]) -> str:
    condition = one.get("condition_number", one.get("condition"))
    return (
        f"layer {one['layer']:2}  {one['tokens']} tokens  shrinkage {one['shrinkage']:g}  "
        f"condition number {condition:.3g}  {one['corpus']}"
    )


def _row(model: PreparedModel, statistics: list[PreparedStatistic]) -> dict[str, Any]:
    prepared = [asdict(one) for fingerprint in model.weights.values() for one in _of(fingerprint, statistics)]
    return {**asdict(model), "statistics": prepared}


def _of(fingerprint: str, statistics: list[PreparedStatistic]) -> list[PreparedStatistic]:
    return [one for one in statistics if one.fingerprint == fingerprint]


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise typer.BadParameter(f"{text!r} are no layers; write numbers with commas between: 13,14,15") from None


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came, which shall not end us in the middle of a write; a second Ctrl-C ends at once."""
    asked = threading.Event()

    def stop(number: int, frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
