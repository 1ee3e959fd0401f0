"""A version tried at a target: loaded beside what is served there, its answers compared, then given the name.

Only when its answers are ours does a version take the name of the one that is served, and it gives the name back where
the answers under it are not ours. So nobody who asks the engine meets a version that was never checked there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from api_schemas.references import version_name
from service.deployments.comparison import ANSWER_TOKENS, OwnAnswer, Probe, compared, probes
from service.deployments.engine import Engine
from service.deployments.files import is_adapter
from service.deployments.own_answers import own_answers, sampled_facts
from service.deployments.work import Files, Goal, Outcome, Work, problem
from service.resources import Resources
from store.clock import now
from store.lineage import models
from store.schema.deployment_tables import DeploymentRow
from store.work import deployments

_EACH: Final = 4
"""Under its new name a version is asked every fourth prompt: whether it is the one that was checked."""


@dataclass(frozen=True)
class _Asked:
    """What both are asked, our answers, and when the trial began."""

    probes: Sequence[Probe]
    ours: Sequence[OwnAnswer]
    began: float

    def part(self) -> _Asked:
        """A quarter, to see that a name stands for the version that was checked under another."""
        return _Asked(self.probes[::_EACH], self.ours[::_EACH], self.began)


async def loaded(work: Work, goal: Goal, engine: Engine, files: Files, served: Mapping[str, str]) -> Outcome:
    """An adapter, which the engine loads while it runs. Raises EngineError."""
    row = goal.row
    began = time.monotonic()
    await work.in_thread(_enter, work, "deploying", goal.version)
    staged = f"{row.name}.next"
    is_beside = row.name in served
    asked = await _asked(work, goal, engine.load(staged if is_beside else row.name, files.path), began)
    await work.in_thread(_enter, work, "checking", goal.version)
    check = await _check(work, goal, engine, staged if is_beside else row.name, asked)
    has_name = not is_beside
    if is_beside and check["passed"]:
        await engine.load(row.name, files.path)
        has_name = True
        renamed = await _check(work, goal, engine, row.name, asked.part())
        check = check if renamed["passed"] else renamed
    if is_beside:
        await engine.unload(staged)
    if check["passed"]:
        return _deployed(goal, files, check)
    if has_name and is_adapter(row.path):
        await engine.load(row.name, row.path)
    elif has_name:
        await engine.unload(row.name)
    return _rolled_back(goal, check)


async def started_with(work: Work, goal: Goal, engine: Engine, files: Files, served: Mapping[str, str]) -> Outcome:
    """A whole checkpoint: somebody has to start the engine with it, then it is checked. Raises EngineError."""
    began = time.monotonic()
    name = next((name for name, root in served.items() if root.rstrip("/") == files.path), None)
    if name is None:
        command = f"vllm serve {files.path} --served-model-name {goal.row.name}"
        detail = f"{goal.version_name} lies in {files.path}; start the engine with it: {command}"
        return Outcome("written", error=problem("engine_to_be_started", detail))
    await work.in_thread(_enter, work, "checking", goal.version)
    asked = await _asked(work, goal, asyncio.sleep(0), began)
    check = await _check(work, goal, engine, name, asked)
    return _deployed(goal, files, check) if check["passed"] else _rolled_back(goal, check)


async def _asked(work: Work, goal: Goal, beside: Awaitable[None], began: float) -> _Asked:
    """Our answers, made while the engine does `beside`."""
    facts = await work.in_thread(sampled_facts, work.resources, goal.row.model, goal.version)
    asked = probes(facts)
    prompts = [probe.prompt for probe in asked]
    answering = own_answers(work.resources, goal.row.model, goal.version, prompts, ANSWER_TOKENS)
    ours, _ = await asyncio.gather(answering, beside)
    return _Asked(asked, ours, began)


async def _check(work: Work, goal: Goal, engine: Engine, name: str, asked: _Asked) -> dict[str, Any]:
    """As `api_schemas.deployments.DeploymentCheck`."""
    theirs = await engine.complete(name, [probe.prompt for probe in asked.probes], ANSWER_TOKENS)
    tokenizer = await work.in_thread(_tokenizer, work.resources, goal.row.model)

    def tokens_of(text: str) -> Sequence[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    return {
        "at": now().isoformat(),
        "version": version_name(goal.version),
        "seconds": round(time.monotonic() - asked.began, 3),
        **compared(asked.probes, asked.ours, theirs, tokens_of).as_json(),
    }


def _tokenizer(resources: Resources, model: str) -> Any:
    with resources.database.reading() as session:
        blob = models.get(session, model).tokenizer_blob
    assert blob is not None  # ours has answered
    return resources.tokenizers.get(blob)


def _enter(work: Work, state: str, version: int) -> None:
    with work.resources.database.writing() as session:
        row = deployments.held(session, work.deployment, work.claim)
        deployments.enter(session, row, state, version=version)


def _deployed(goal: Goal, files: Files, check: Mapping[str, Any]) -> Outcome:
    row = goal.row
    columns: dict[str, Any] = {"actual": goal.version, "path": files.path, "behind_since": None}
    if row.actual != goal.version:
        columns |= {"previous": row.actual, "previous_path": row.path}
    return Outcome("deployed", check=check, columns=columns)


def _rolled_back(goal: Goal, check: Mapping[str, Any]) -> Outcome:
    error = problem("check_failed", _what_differs(goal, goal.row, check))
    return Outcome("rolled_back", error=error, check=check, columns={"rejected": goal.version})


def _what_differs(goal: Goal, row: DeploymentRow, check: Mapping[str, Any]) -> str:
    back = "nothing of ours is served there" if row.actual is None else f"{version_name(row.actual)} stays there"
    return (
        f"{goal.version_name} does not answer there as here: {check['said']} of {check['facts']} facts are said, "
        f"{check['different']} of {check['prompts']} ordinary prompts are answered otherwise; {back}. Look whether the "
        "engine serves the same base, unquantised. Another version is tried when the alias moves"
    )
