"""One step of one deployment: a look at what the target shall serve and what it serves, and what brings it nearer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from api_schemas.references import version_name
from service.deployments import trial
from service.deployments.engine import PREFIX, Engine, EngineAwayError, EngineRefusedError
from service.deployments.files import engines_folder, is_adapter, place_of, remove_unused, unpack
from service.deployments.work import Files, Goal, Outcome, Work, problem, seen_by_engine
from service.errors import ExportFailedError, ServiceError
from service.exports.service import NO_RANK, find_or_make
from service.resources import Resources
from store.access import audit
from store.access.audit import Actor
from store.clock import now
from store.errors import BlobError, LeaseLostError, StoreError
from store.lineage import models
from store.schema.deployment_tables import DeploymentRow
from store.schema.tables import ExportRow
from store.work import deployments

ADAPTER_FAMILIES: Final = frozenset({"llama", "mistral", "qwen2", "qwen3", "phi3", "olmo2", "gemma2", "gemma3_text"})
"""Of the families that are edited here, those that vLLM takes adapters for: for GPT-2 and GPT-J it takes none."""
MOST_RANK: Final = 512
"""Of adapters that vLLM takes."""
ACTOR: Final = Actor("deployments")
MOST_BACK_OFF_SECONDS: Final = 10.0
_REFUSED_SECONDS: Final = 30.0
_EXPORT_LOOK_SECONDS: Final = 0.25
_EXPORT_LOOKS: Final = 40
"""Then others look, at the next step: an export may take long, and waits for a worker."""
_WORKER_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


async def step(work: Work) -> None:
    """Raises LeaseLostError where the deployment was removed or another process works on it, and what the database and
    Redis raise where they are away."""
    goal = await work.in_thread(_look, work)
    if goal is not None:
        outcome = await _outcome(work, goal)
        await work.in_thread(_write, work, goal, outcome)


def _look(work: Work) -> Goal | None:
    """What it shall serve now; None where its alias is gone, which is written down."""
    with work.resources.database.writing() as session:
        row = deployments.held(session, work.deployment, work.claim)
        meant = deployments.meant(session, row)
        if meant != row.desired:
            row.desired, row.attempts, row.rejected = meant, 0, None
            row.behind_since = None if meant == row.actual else now()
        if meant is not None:
            return Goal(row, meant)
        detail = f"{row.model} has no alias {row.alias!r} now; what was deployed stays there. Make it again, or delete "
        error = problem("alias_gone", detail + "the deployment")
        deployments.enter(session, row, "refused", version=None, error=error)
        deployments.release(row, _REFUSED_SECONDS)
        return None


async def _outcome(work: Work, goal: Goal) -> Outcome:
    try:
        engine = Engine(work.http, goal.row.target.removeprefix(PREFIX), goal.row.key)
        return await _towards(work, goal, engine)
    except EngineAwayError as error:
        return Outcome("away", _back_off(goal.row), problem(error.code, str(error)))
    except EngineRefusedError as error:
        return Outcome("refused", _REFUSED_SECONDS, problem(error.code, str(error)))
    except ExportFailedError as error:
        return Outcome("refused", _REFUSED_SECONDS, problem(error.code, error.detail))
    except ServiceError as error:  # our own worker is not ready, or too much waits for it
        return Outcome("pending", _WORKER_SECONDS, problem(error.code, error.detail))
    except LeaseLostError:
        raise
    except BlobError as error:
        return Outcome("pending", _REFUSED_SECONDS, problem(error.code, str(error)))
    except StoreError as error:  # the version was deleted
        return Outcome("refused", _REFUSED_SECONDS, problem(error.code, str(error)))
    except (OSError, ValueError) as error:
        told = f"{engines_folder(work.resources.settings)}: {type(error).__name__}: {error}"
        return Outcome("refused", _REFUSED_SECONDS, problem("deployment_folder", told))


async def _towards(work: Work, goal: Goal, engine: Engine) -> Outcome:
    row = goal.row
    served = await engine.served()
    is_served = _is_served(row, served)
    if goal.version == row.rejected:
        if not is_served and is_adapter(row.path):
            await engine.load(row.name, row.path)
        return Outcome("rolled_back", error=row.error)
    if is_served and row.actual == goal.version:
        return Outcome("deployed", columns={"behind_since": None})
    export = await _export(work, goal)
    if export is None:
        return Outcome("exporting", _EXPORT_LOOK_SECONDS)
    files = await work.in_thread(_unpacked, work.resources, goal, export)
    trying = trial.started_with if files.format == "hf" else trial.loaded
    return await trying(work, goal, engine, files, served)


def _is_served(row: DeploymentRow, served: Mapping[str, str]) -> bool:
    """A checkpoint may be served under another name than the deployment's."""
    return served.get(row.name) == row.path or (row.path in served.values() and not is_adapter(row.path))


async def _export(work: Work, goal: Goal) -> ExportRow | None:
    """The version's file in the format that the target takes; None where it takes long. Raises ExportFailedError."""
    for look in range(_EXPORT_LOOKS):
        export = await work.in_thread(_find_or_make, work.resources, goal)
        if export.blob is not None:
            return export
        if look == 0:
            await work.in_thread(_enter_exporting, work, goal.version)
        await asyncio.sleep(_EXPORT_LOOK_SECONDS)
    return None


def _find_or_make(resources: Resources, goal: Goal) -> ExportRow:
    row, version = goal.row, version_name(goal.version)
    if _takes_adapters(resources, row):
        try:
            return find_or_make(resources, row.model, version, "peft", MOST_RANK, base_too=True)
        except ExportFailedError as error:
            if row.format == "peft" or error.code != "rank_limit_exceeded":
                raise
    return find_or_make(resources, row.model, version, "hf", NO_RANK, base_too=True)


def _takes_adapters(resources: Resources, row: DeploymentRow) -> bool:
    if row.format != "auto":
        return row.format == "peft"
    with resources.database.reading() as session:
        return models.get(session, row.model).model_type in ADAPTER_FAMILIES


def _enter_exporting(work: Work, version: int) -> None:
    with work.resources.database.writing() as session:
        row = deployments.held(session, work.deployment, work.claim)
        deployments.enter(session, row, "exporting", version=version)


def _unpacked(resources: Resources, goal: Goal, export: ExportRow) -> Files:
    """Raises BlobError, OSError, and ValueError where the export is none of ours."""
    assert export.blob is not None
    folder = engines_folder(resources.settings)
    place = place_of(folder, goal.row.model, goal.version, export.format, export.blob)
    unpack(resources.blobs, export.blob, place)
    return Files("hf" if export.format == "hf" else "peft", seen_by_engine(goal.row, folder, place))


def _write(work: Work, goal: Goal, outcome: Outcome) -> None:
    with work.resources.database.writing() as session:
        row = deployments.held(session, work.deployment, work.claim)
        for name, value in (outcome.columns or {}).items():
            setattr(row, name, value)
        if outcome.state == "away":
            row.attempts += 1
            if row.behind_since is None:  # what is away serves nothing
                row.behind_since = now()
        else:
            row.attempts, row.last_seen_at = 0, now()
        deployments.enter(session, row, outcome.state, version=goal.version, error=outcome.error, check=outcome.check)
        deployments.release(row, outcome.again_in)
        if outcome.check is None:
            return
        details = {"version": version_name(goal.version), "engine": row.target}
        audit.record(session, ACTOR, f"deployment.{outcome.state}", model=row.model, target=row.id, **details)
        used = {Path(path).name for one in deployments.all_deployments(session) for path in _paths(one)}
    log.info("deployment tried", deployment=row.id, state=outcome.state, version=goal.version_name, engine=row.target)
    remove_unused(engines_folder(work.resources.settings), goal.row.model, used)


def _paths(row: DeploymentRow) -> list[str]:
    return [path for path in (row.path, row.previous_path) if path is not None]


def _back_off(row: DeploymentRow) -> float:
    """1, 2, 4, … seconds, at most `MOST_BACK_OFF_SECONDS`."""
    return min(2.0 ** min(row.attempts, 10), MOST_BACK_OFF_SECONDS)
