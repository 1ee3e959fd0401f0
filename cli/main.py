"""The command line `emmetd`. Every command imports what it needs when it runs, so that each starts fast."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.commands.api import api
from cli.commands.audit import audit
from cli.commands.backup import backup, restore
from cli.commands.bench import bench
from cli.commands.config import config
from cli.commands.doctor import doctor
from cli.commands.keys import keys
from cli.commands.migrate import migrate
from cli.commands.models import models
from cli.commands.reproduce import reproduce
from cli.commands.retention import retention
from cli.commands.serve import serve
from cli.commands.versions import versions
from cli.commands.worker import worker
from cli.requests.alias import alias
from cli.requests.ask import ask
from cli.requests.deployments import deploy, deployments
from cli.requests.edit import edit
from cli.requests.edits import edits
from cli.requests.evaluate import evaluate
from cli.requests.registration import add as add_model
from cli.requests.served_versions import ON_A_SERVER, add_to
from cli.requests.webhooks import webhooks
from cli.terminal.errors import CliError
from cli.terminal.exit_codes import EPILOG
from configuration.errors import CONFIGURATION_EXIT_CODE, ConfigurationError


class _Commands(TyperGroup):
    """Tells errors that a person can mend as one message instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            typer.echo(f"emmetd: {error}", err=True)
            raise typer.Exit(CONFIGURATION_EXIT_CODE) from None
        except CliError as error:
            typer.echo(f"emmetd: {error}", err=True)
            raise typer.Exit(error.exit_code) from None


app = typer.Typer(
    name="emmetd",
    cls=_Commands,
    help="Correct facts inside a running language model.\n\n"
    "Settings come from flags, then EMMETD_* variables, then a TOML file. Commands that ask a server find it at "
    "EMMETD_URL, with the key EMMETD_API_KEY.",
    epilog=f"Start with: emmetd serve\n\n{EPILOG}",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"emmetd {version('emmetd')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


_USERS = "Correct, ask and measure: over HTTP, with EMMETD_URL and EMMETD_API_KEY"
_OPERATORS = "Run emmetd: on the machine that has its data"

app.command(rich_help_panel=_USERS)(edit)
app.command(rich_help_panel=_USERS)(ask)
app.command(rich_help_panel=_USERS)(evaluate)
add_to(versions)
app.add_typer(versions, name="versions", rich_help_panel=_USERS)
app.add_typer(alias, name="alias", rich_help_panel=_USERS)
app.command(rich_help_panel=_USERS)(deploy)
app.add_typer(deployments, name="deployments", rich_help_panel=_USERS)
app.add_typer(edits, name="edits", rich_help_panel=_USERS)
app.add_typer(webhooks, name="webhooks", rich_help_panel=_USERS)

for command in (serve, api, worker, migrate, config, doctor, backup, restore, audit):
    app.command(rich_help_panel=_OPERATORS)(command)
app.add_typer(keys, name="keys", rich_help_panel=_OPERATORS)
models.command("add", rich_help_panel=ON_A_SERVER)(add_model)
app.add_typer(models, name="models", rich_help_panel=_OPERATORS)
app.add_typer(retention, name="retention", rich_help_panel=_OPERATORS)
app.add_typer(bench, name="bench", rich_help_panel=_OPERATORS)
app.command(rich_help_panel=_OPERATORS)(reproduce)


if __name__ == "__main__":
    app()
