"""Deployments in SQL: who is due, who works on which, what is kept of their states."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from store.clock import now
from store.errors import DeploymentExistsError, DeploymentLimitError, LeaseLostError
from store.lineage import aliases, models
from store.schema.database import Database
from store.work import deployments
from store.work.deployments import NewDeployment


@pytest.fixture
def model(database: Database) -> str:
    with database.writing() as session:
        models.register(session, "tiny", "a folder")
        aliases.put(session, "tiny", "production", 0, None)
    return "tiny"


def new(**changed: Any) -> NewDeployment:
    plain: dict[str, Any] = {
        "model": "tiny",
        "alias": "production",
        "version": None,
        "target": "vllm+http://there:8000",
        "name": "tiny@production",
        "format": "auto",
        "folder": None,
        "key": None,
        "caller": "local",
    }
    return NewDeployment(**{**plain, **changed})


def settled(database: Database, deployment: str, version: int) -> None:
    """As if a step had ended: it serves `version` and is due in an hour."""
    with database.writing() as session:
        row = deployments.get(session, deployment)
        row.desired = row.actual = version
        deployments.release(row, 3600)


def test_a_target_is_served_a_name_by_one_deployment(database: Database, model: str) -> None:
    with database.writing() as session:
        first = deployments.create(session, new())
        deployments.create(session, new(name="other"))
        with pytest.raises(DeploymentExistsError, match=first.id):
            deployments.create(session, new())


def test_there_are_only_so_many(database: Database, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployments, "MOST_DEPLOYMENTS", 1)
    with database.writing() as session:
        deployments.create(session, new())
        with pytest.raises(DeploymentLimitError, match="as many as there may be"):
            deployments.create(session, new(name="other"))


def test_due_are_new_ones_those_whose_time_has_come_and_those_whose_alias_moved(database: Database, model: str) -> None:
    with database.writing() as session:
        followed = deployments.create(session, new()).id
        fixed = deployments.create(session, new(alias=None, version=0, name="fixed")).id
        aliases.put(session, "tiny", "other", 0, None)
    with database.reading() as session:
        assert set(deployments.due(session)) == {followed, fixed}
    for one in (followed, fixed):
        settled(database, one, 0)
    with database.reading() as session:
        assert deployments.due(session) == []
    with database.writing() as session:
        deployments.get(session, followed).desired = 7
    with database.reading() as session:
        assert deployments.due(session) == [followed]
    settled(database, followed, 0)
    with database.writing() as session:
        aliases.delete(session, "tiny", "production")
    with database.reading() as session:
        assert deployments.due(session) == [followed]
        assert deployments.meant(session, deployments.get(session, followed)) is None
        assert deployments.meant(session, deployments.get(session, fixed)) == 0


def test_one_works_on_it_until_its_claim_has_run_out(database: Database, model: str) -> None:
    with database.writing() as session:
        deployment = deployments.create(session, new()).id
        assert deployments.claim(session, deployment, "first") is not None
        assert deployments.claim(session, deployment, "second") is None
        assert deployments.due(session) == []
        deployments.keep_claim(session, deployment, "first")
        with pytest.raises(LeaseLostError):
            deployments.keep_claim(session, deployment, "second")
        deployments.get(session, deployment).claimed_until = now() - timedelta(seconds=1)
        assert deployments.due(session) == [deployment]
        assert deployments.claim(session, deployment, "second") is not None
        with pytest.raises(LeaseLostError):
            deployments.held(session, deployment, "first")
        assert deployments.held(session, deployment, "second").id == deployment
        deployments.remove(session, deployments.get(session, deployment))
        with pytest.raises(LeaseLostError, match="removed"):
            deployments.held(session, deployment, "second")


def test_events_are_of_changes_and_the_oldest_go(
    database: Database, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployments, "EVENTS_KEPT", 3)
    away = {"code": "target_away", "title": "", "detail": "nobody there", "facts": []}
    with database.writing() as session:
        row = deployments.create(session, new())
        deployments.enter(session, row, "away", version=0, error=away)
        deployments.enter(session, row, "away", version=0, error=away)
        deployments.enter(session, row, "deploying", version=0)
        deployments.enter(session, row, "deployed", version=0, check={"passed": True})
        found = deployments.events(session, row.id, None, 10)
        assert [(one.state, one.detail) for one in found] == [
            ("deployed", None),
            ("deploying", None),
            ("away", "nobody there"),
        ]
        assert [one.state for one in deployments.events(session, row.id, found[0].id, 1)] == ["deploying", "away"]
        assert row.last_check == {"passed": True}


def test_lag_is_since_it_fell_behind(database: Database, model: str) -> None:
    with database.writing() as session:
        row = deployments.create(session, new())
        moment = now()
        assert deployments.lag_seconds(row, moment) == 0
        row.behind_since = moment - timedelta(seconds=7)
        assert deployments.lag_seconds(row, moment) == 7
