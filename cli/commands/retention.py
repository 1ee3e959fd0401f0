"""`emmetd retention`: delete what the settings say is kept no longer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from api_schemas.references import version_name
from cli.terminal.errors import CliError
from cli.terminal.options import ConfigFile, DataFolder
from cli.terminal.store import acting, opened

if TYPE_CHECKING:
    from configuration.settings import Settings
    from store.upkeep.retention import RetentionPolicy

retention = typer.Typer(
    name="retention",
    help="Delete what the settings retention_… say is kept no longer.",
    no_args_is_help=True,
)


@retention.callback()
def _retention() -> None:
    pass


@retention.command()
def apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Delete old versions, matrices, texts, evaluations and audit entries. Run it as often as you like.

    A version goes only where no alias, later version or running work needs it. Matrices of versions that no alias
    points at are made again where they are asked for. Facts lose their texts, the versions that they made stay. What
    goes leaves blobs behind, which go with `emmetd versions collect`.

    \b
    Examples:
      EMMETD_RETENTION_VERSION_DAYS=90 emmetd retention apply --dry-run
      EMMETD_RETENTION_MATRIX_DAYS=30 emmetd retention apply
      EMMETD_RETENTION_FACT_DAYS=30 EMMETD_RETENTION_EVALUATION_DAYS=30 emmetd retention apply
    """
    from configuration.settings import load_settings

    policy = _policy(load_settings(data=data, config=config))
    with opened(data, config) as database:
        from store.upkeep.retention import apply as apply_policy

        gone = apply_policy(database, policy, acting(), execute=not dry_run)
    word = "would be" if dry_run else "was"
    for model, number in gone.versions:
        typer.echo(f"{model}@{version_name(number)} {word} deleted")
    for model, number in gone.matrices:
        typer.echo(f"the matrices of {model}@{version_name(number)} {word.replace('was', 'were')} dropped")
    for edit in gone.edits:
        typer.echo(f"the texts of {edit} {word.replace('was', 'were')} removed")
    for evaluation in gone.evaluations:
        typer.echo(f"{evaluation} {word} deleted")
    typer.echo(
        f"{len(gone.versions)} versions, the matrices of {len(gone.matrices)} versions, the texts of "
        f"{len(gone.edits)} edits, {len(gone.evaluations)} evaluations, {gone.audit_entries} entries of the audit log"
    )


def _policy(settings: Settings) -> RetentionPolicy:
    from store.upkeep.retention import RetentionPolicy

    def days(number: int | None) -> timedelta | None:
        return None if number is None else timedelta(days=number)

    policy = RetentionPolicy(
        versions=days(settings.retention_version_days),
        keep_versions=settings.retention_keep_versions,
        matrices=days(settings.retention_matrix_days),
        facts=days(settings.retention_fact_days),
        evaluations=days(settings.retention_evaluation_days),
        audit=days(settings.retention_audit_days),
    )
    if policy == RetentionPolicy(keep_versions=policy.keep_versions):
        raise CliError(
            "everything is kept for ever; set EMMETD_RETENTION_VERSION_DAYS, EMMETD_RETENTION_MATRIX_DAYS, "
            "EMMETD_RETENTION_FACT_DAYS, EMMETD_RETENTION_EVALUATION_DAYS or EMMETD_RETENTION_AUDIT_DAYS"
        )
    return policy
