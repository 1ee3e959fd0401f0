"""Commands that ask a server over HTTP: their options, their connection, and errors in one message each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.terminal.errors import CliError, InterruptedCommandError, ServerSaidNoError
from cli.terminal.exit_codes import ExitCode
from cli.terminal.printable import printable, printable_lines

if TYPE_CHECKING:
    from emmetd_client import Emmetd, EmmetdError, FactsFile, Job, Table

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The server.", show_default="EMMETD_URL, else http://127.0.0.1:8000"),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--api-key", metavar="K", help="Others can see flags: prefer EMMETD_API_KEY.", show_default="EMMETD_API_KEY"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: one JSON object on each line.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end, and end with an exit code that says how.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="S", min=0, help="Wait at most so many seconds.", show_default="no limit"),
]
Reference = Annotated[str, typer.Argument(metavar="NAME[@v]", help="NAME, NAME@v3 or NAME@alias.", show_default=False)]
ModelArgument = Annotated[str, typer.Argument(metavar="NAME", help="A model's name.", show_default=False)]


@contextmanager
def connected(url: str | None, key: str | None, facts: FactsFile | None = None) -> Iterator[Emmetd]:
    """A client. What it raises is told as one message; what a server says of `facts` is told at the file's line."""
    from emmetd_client import Emmetd, EmmetdError, InvalidFieldsError

    try:
        with Emmetd(url, api_key=key) as client:
            yield client
    except InvalidFieldsError as error:
        placed = [facts.error(field.loc, field.message) for field in error.fields] if facts is not None else []
        found = [str(one) for one in placed if one is not None]
        raise ServerSaidNoError("\n".join(found) or str(error), _exit_code(error) if not found else 7) from None
    except EmmetdError as error:
        raise ServerSaidNoError(str(error), _exit_code(error)) from None
    except KeyboardInterrupt:
        raise InterruptedCommandError("stopped waiting; what the server has accepted goes on there") from None


def _exit_code(error: EmmetdError) -> int:
    import emmetd_client as client

    kinds: tuple[tuple[type[Exception] | tuple[type[Exception], ...], ExitCode], ...] = (
        ((client.ConnectionFailedError, client.UnavailableError, client.RateLimitError), ExitCode.UNAVAILABLE),
        ((client.AuthenticationError, client.PermissionDeniedError), ExitCode.NOT_PERMITTED),
        (client.JobRejectedError, ExitCode.REJECTED),
        (client.JobEndedError, ExitCode.FAILED),
        (client.FactsError, ExitCode.WRONG_FILE),
        (client.WaitTimedOutError, ExitCode.NOT_YET),
        (client.ConfigurationError, ExitCode.CONFIGURATION),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), ExitCode.REFUSED)


def facts_of(path: str) -> FactsFile:
    """The facts of a file. One of a wrong shape is told with line and column."""
    from emmetd_client import FactsError, read_facts

    try:
        return read_facts(path)
    except FactsError as error:
        raise ServerSaidNoError(str(error), ExitCode.WRONG_FILE) from None


def only_model(client: Emmetd) -> str:
    """The server's model, where it has one."""
    names = [card.id for card in client.models.list() if "@" not in card.id]
    if len(names) != 1:
        known = ", ".join(names) or "none yet"
        raise CliError(f"which model? The server has {known}; name one with --model")
    return names[0]


def show_json(value: Any) -> None:
    """An answer, or a mapping, on one line."""
    typer.echo(json.dumps(value if isinstance(value, dict) else value.as_json(), ensure_ascii=False))


def show_table(table: Table) -> None:
    """With lines and colours on a terminal, plain columns elsewhere."""
    import sys

    if not sys.stdout.isatty():
        typer.echo(printable_lines(table.text))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(title=printable(table.title) or None, box=SIMPLE_HEAD, title_justify="left")
    for heading in table.headings:
        shown.add_column(printable(heading), overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    console.print(shown)
    for note in table.notes:
        console.print(Text(printable(note)))


def show_job(job: Any, as_json: bool) -> None:
    if as_json:
        show_json(job)
    else:
        show_table(job.table())


def awaited_job(job: Any, timeout: float | None, as_json: bool) -> None:
    """Wait, show how far it is and how it ended; raises as the client does where that is no success."""
    ended: Job = job.wait(on_progress=True, timeout=timeout, check=False)
    show_job(job, as_json)
    ended.raise_unless_succeeded()


def pairs(values: list[str], option: str) -> dict[str, Any] | None:
    """["EM=0.8"] → {"EM": 0.8}; values are JSON where they can be read so, else text."""
    found: dict[str, Any] = {}
    for value in values:
        name, equals, written = value.partition("=")
        if not equals or not name or not written:
            raise typer.BadParameter(f"{value!r} is not NAME=VALUE", param_hint=option)
        try:
            found[name] = json.loads(written)
        except ValueError:
            found[name] = written
    return found or None
