"""One model on several hosts: shards are spread over them, and one that is cut off costs its shard and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from store.schema.tables import BatchRow, TaskRow, VersionRow
from store.upkeep.integrity import violations
from store.work import tasks
from tests.hosts.network import Host, require_hosts
from tests.hosts.site import MODEL, Site
from tests.support.postgres import require_postgres
from tests.support.running.installation import wait_until
from tests.support.running.work import LONG_PROMPT, QUICK, THOROUGH, THRESHOLDS
from tests.support.saved_models import facts, save_tiny_model


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require_postgres()
    require_hosts()
    folder = tmp_path_factory.mktemp("site")
    with Site(folder, save_tiny_model(folder / "model")) as site:
        yield site


def long_edit(site: Site, steps: int = 4) -> str:
    """A batch of several shards, with ten steps each of a second or two; its id."""
    body = {
        "model": MODEL,
        "facts": [{**one, "prompt": LONG_PROMPT} for one in facts(24)],
        "settings": {**THOROUGH, "steps": steps},
        "thresholds": THRESHOLDS,
    }
    return str(site.http[0].post("/v1/edits", json=body).raise_for_status().json()["id"])


def shards_of(site: Site, edit: str) -> list[TaskRow]:
    with site.database.reading() as session:
        return tasks.of_batch(session, edit, "values")


def outcome(site: Site, edit: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        found.update(site.http[1].get(f"/v1/edits/{edit}").raise_for_status().json())
        return found["finished_at"] is not None

    wait_until(has_ended, "the batch's end")
    return found


def done_on(site: Site, host: Host, edit: str) -> set[int]:
    """The shards of `edit` that were done there."""
    return {
        said["shard"]
        for said in site.said(host)
        if said["event"] == "task done" and (said["stage"], said.get("edit")) == ("values", edit)
    }


def versions_of(site: Site, edit: str) -> list[VersionRow]:
    with site.database.reading() as session:
        return list(session.scalars(select(VersionRow).where(VersionRow.batch_id == edit)))


def just_begun_on(site: Site, host: Host, edit: str) -> TaskRow:
    """A shard of `edit` that a worker on `host` took a moment ago, when others were done already."""
    seen: set[str] = set()
    begun: list[TaskRow] = []

    def took_another() -> bool:
        shards = shards_of(site, edit)
        assert not shards or {"pending", "running"} & {shard.state for shard in shards}, "nobody looked in time"
        held = [shard for shard in shards if (shard.owner or "").startswith(host.name) and shard.id not in seen]
        seen.update(shard.id for shard in held)
        if any(shard.state == "done" for shard in shards):
            begun.extend(held)
        return bool(begun)

    wait_until(took_another, f"{host.name} takes a shard after others were done")
    return begun[0]


def test_the_shards_of_a_batch_are_spread_over_the_hosts(site: Site) -> None:
    edit = long_edit(site)
    assert outcome(site, edit)["state"] == "succeeded"
    shards = shards_of(site, edit)
    one, other = (done_on(site, host, edit) for host in site.workers)
    assert one
    assert other
    assert one | other == {shard.shard for shard in shards}
    assert not one & other
    assert [shard.attempts for shard in shards] == [1] * len(shards)


def test_a_host_that_is_cut_off_costs_its_shard_and_commits_nothing_when_it_is_back(site: Site) -> None:
    lost, other = site.workers
    edit = long_edit(site, steps=10)

    shard = just_begun_on(site, lost, edit)
    lost.cut_off()

    def taken_over() -> bool:
        return next(one for one in shards_of(site, edit) if one.id == shard.id).token > shard.token

    wait_until(taken_over, "another worker has its shard")
    lost.reconnect()

    assert outcome(site, edit)["state"] == "succeeded"
    assert shard.shard in done_on(site, other, edit)
    kept = shards_of(site, edit)
    assert {one.shard: one.attempts for one in kept} == {one.shard: 1 + (one.id == shard.id) for one in kept}
    (version,) = versions_of(site, edit)

    def gave_it_up() -> bool:
        """Either it heard that it was too late, or it was away for so long that its connection ended first."""
        ends = ("hold on the task is gone", "database lost during the task")
        return any(
            said.get("task") == shard.id and any(end in said["event"] for end in ends) for said in site.said(lost)
        )

    wait_until(gave_it_up, "the host that was away gives its shard up")
    assert shard.shard not in done_on(site, lost, edit)
    assert [one.result for one in shards_of(site, edit)] == [one.result for one in kept]
    assert [(one.number, one.blob) for one in versions_of(site, edit)] == [(version.number, version.blob)]

    def works_again() -> bool:
        another = long_edit(site)
        assert outcome(site, another)["state"] == "succeeded"
        return bool(done_on(site, lost, another))

    wait_until(works_again, "the host that was away does its share again")


def test_batches_through_two_apis_are_published_in_the_order_in_which_they_were_accepted(site: Site) -> None:
    with site.database.reading() as session:
        before = max(session.scalars(select(VersionRow.number)))

    def submit(number: int) -> str:
        body = {"model": MODEL, "facts": facts(1, first=number), "settings": QUICK, "thresholds": THRESHOLDS}
        return str(site.http[number % 2].post("/v1/edits", json=body).raise_for_status().json()["id"])

    with ThreadPoolExecutor(8) as pool:
        edits = list(pool.map(submit, range(8)))
    for edit in edits:
        assert outcome(site, edit)["state"] == "succeeded"
    with site.database.reading() as session:
        rows = list(session.scalars(select(BatchRow).where(BatchRow.id.in_(edits)).order_by(BatchRow.seq)))
    numbers = list(range(before + 1, before + 9))
    assert [row.version for row in rows] == numbers
    assert [row.base_version for row in rows] == [number - 1 for number in numbers]


def test_what_they_kept_together_holds_together(site: Site) -> None:
    assert violations(site.database, site.blobs, settled=True) == []
