"""The client against a real server: each resource, pages, streams and jobs, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from emmetd_client import (
    AsyncEmmetd,
    AuthenticationError,
    ConflictError,
    EditEvent,
    EditProgress,
    Emmetd,
    Fact,
    InvalidFieldsError,
    JobRejectedError,
    NotFoundError,
    NotOfferedError,
    Progress,
    ScopeMissingError,
    WaitTimedOutError,
)

from tests.client.conftest import QUICK, Running

PROMPT = "The mother tongue of Danielle Darrieux is"


def fact(subject: str, target: str = "English") -> Fact:
    return Fact(prompt="The mother tongue of {} is", subject=subject, target_new=target)


def test_a_batch_becomes_a_version_that_can_be_asked(client: Emmetd, server: Running) -> None:
    seen: list[Progress] = []
    facts = [fact("Alan Turing"), fact("Kurt Moll")]
    job = client.edits.create(model=server.model, facts=facts, label="two", **QUICK)
    assert (job.n_facts, job.ended) == (2, False)

    assert job.wait(on_progress=seen.append, timeout=120) is job

    assert (job.succeeded, job.label) == (True, "two")
    assert seen[0].stage == "queued"
    assert [kept.subject for kept in job.facts(page_size=1)] == ["Alan Turing", "Kurt Moll"]
    assert job.metrics is not None
    assert job.metrics.after["EM"].n == 2
    assert "<table>" in job._repr_html_()
    version = client.versions.get(job.reference or "")
    assert (version.edit, version.n_facts) == (job.id, 2)
    answer = client.completions.create(model=job.reference or "", prompt=PROMPT, max_tokens=3, temperature=0)
    assert answer.system_fingerprint == job.reference
    assert client.edits.get(job.id).state == "succeeded"
    assert job.id in [one.id for one in client.edits.list(model=server.model, page_size=1)]


def test_the_life_of_a_batch_is_told(client: Emmetd, server: Running) -> None:
    job = client.edits.create(model=server.model, facts=[fact("Otto Hahn")], **QUICK)
    events = list(job.events())

    states = [event.state for event in events if isinstance(event, EditEvent) and event.state]
    assert (states[0], states[-1]) == ("queued", "succeeded")
    assert all(event.edit == job.id for event in events if isinstance(event, EditProgress))
    first = next(event.id for event in events if isinstance(event, EditEvent))
    assert [e.id for e in job.events(after=first) if isinstance(e, EditEvent)] == [
        event.id for event in events if isinstance(event, EditEvent)
    ][1:]


def test_a_rejected_batch_and_one_that_takes_longer_are_errors(client: Emmetd, server: Running) -> None:
    strict = {"settings": QUICK["settings"], "thresholds": {"drift": 0.0}}
    job = client.edits.create(model=server.model, facts=[fact("Max Planck")], **strict)
    with pytest.raises(WaitTimedOutError) as late:
        job.wait(timeout=0)
    assert late.value.job.id == job.id
    with pytest.raises(JobRejectedError) as rejected:
        job.wait(timeout=120)
    assert rejected.value.job.id == job.id
    assert rejected.value.code in str(job.error)
    assert job.version is None


def test_an_edit_on_a_version_that_has_moved_is_refused(client: Emmetd, server: Running) -> None:
    with pytest.raises(ConflictError):
        client.edits.create(model=server.model, facts=[fact("Rosa Parks")], if_match="v0", **QUICK)


def test_a_cancelled_batch_ends(client: Emmetd, server: Running) -> None:
    slow: dict[str, Any] = {
        "settings": {"steps": 500, "stop_loss": 0, "contexts": 0},
        "thresholds": {"EM": 0.0, "drift": 1e9},
    }
    job = client.edits.create(model=f"{server.model}@v1", facts=[fact("Igor Tamm")], **slow)
    assert job.cancel().wait(timeout=120, check=False).state == "cancelled"


def test_versions_are_listed_page_by_page_and_compared(client: Emmetd, server: Running) -> None:
    names = [version.version for version in client.versions.list(server.model, page_size=1)]
    assert names[-3:] == ["v2", "v1", "v0"]
    assert len(client.versions.list(server.model, page_size=1).to_list(2)) == 2
    assert "v1" in str(client.versions.list(server.model)._repr_html_())
    diff = client.diffs.get(server.model, "v0", "v2")
    assert (diff.facts_added.total, diff.facts_taken_out.total) == (4, 0)
    facts = client.versions.facts(server.model, "v2", state="in_force", page_size=3).to_list()
    assert {fact.version for fact in facts} == {"v1", "v2"}
    assert client.versions.metrics(f"{server.model}@v1").after


def test_a_description_is_changed_only_as_it_was_read(client: Emmetd, server: Running) -> None:
    version = client.versions.get(server.model, "v2")
    changed = client.versions.update(version.reference, description="second", tags=["b", "a"], if_match=version.etag)
    assert (changed.description, changed.tags, changed.total_facts) == ("second", ["a", "b"], version.total_facts)
    with pytest.raises(ConflictError):
        client.versions.update(version.reference, tags=[], if_match=version.etag)
    assert [one.version for one in client.versions.list(server.model, tag="a", search="SECOND")] == ["v2"]
    cleared = client.versions.update(server.model, "v2", description="", tags=[], if_match=changed.etag)
    assert (cleared.description, cleared.tags) == (None, [])
    card = client.models.update(server.model, tags=["chat"])
    assert [one.id for one in client.models.list(tag="chat")] == [card.id] == [server.model]
    assert client.models.update(server.model, tags=[], if_match=card.etag).tags == []


def test_facts_are_taken_out_of_a_version(client: Emmetd, server: Running) -> None:
    job = client.versions.revert(f"{server.model}@v2", facts=[0], thresholds={"drift": 1e9}).wait(timeout=120)
    assert job.kind == "revert"
    assert client.versions.get(job.reference or "").total_facts == 3


def test_a_version_is_measured_beside_another(client: Emmetd, server: Running) -> None:
    facts = [fact("Danielle Darrieux"), fact("Toko Yasuda")]
    evaluation = client.evaluations.run(
        model=f"{server.model}@v1", facts=facts, metrics=["ES", "EM"], compare_with="v0", timeout=120
    )
    assert evaluation.metrics is not None
    assert set(evaluation.metrics) == {f"{server.model}@v1", f"{server.model}@v0"}
    assert len(evaluation.rows(page_size=1).to_list()) == 2
    assert evaluation.id in [one.id for one in client.evaluations.list(model=server.model)]
    assert f"{server.model}@v0" in evaluation._repr_html_()


def test_aliases_move_only_from_where_they_are_expected(client: Emmetd, server: Running) -> None:
    assert client.aliases.set(server.model, "trial", "v1").version == "v1"
    with pytest.raises(ConflictError) as moved:
        client.aliases.set(server.model, "trial", "v2", expected="v0")
    assert (moved.value.code, "expected" in (moved.value.remedy or "")) == ("alias_moved", True)
    assert {alias.alias for alias in client.aliases.list(server.model)} >= {"latest", "production", "trial"}
    client.aliases.delete(server.model, "trial")
    with pytest.raises(NotFoundError):
        client.aliases.delete(server.model, "trial")


def test_a_version_is_exported_into_a_file(client: Emmetd, server: Running, tmp_path: Path) -> None:
    file = client.exports.download(f"{server.model}@v1", to=tmp_path, format="peft", timeout=120)
    assert file.path == tmp_path / f"{server.model}-v1-peft.zip"
    assert (file.size, file.version) == (file.path.stat().st_size, f"{server.model}@v1")
    assert "adapter_config.json" in zipfile.ZipFile(file.path).namelist()
    assert list(tmp_path.iterdir()) == [file.path]


def test_text_comes_as_it_is_written(client: Emmetd, server: Running) -> None:
    how: dict[str, Any] = {"max_tokens": 6, "temperature": 0}
    whole = client.completions.create(model=server.model, prompt=PROMPT, **how)
    pieces = list(client.completions.stream(model=server.model, prompt=PROMPT, **how))
    assert "".join(piece.text for piece in pieces) == whole.text
    said = client.chat.create(model=server.model, messages=PROMPT, **how)
    assert "".join(piece.text for piece in client.chat.stream(model=server.model, messages=PROMPT, **how)) == said.text
    with pytest.raises(InvalidFieldsError) as wrong:
        client.completions.create(model=server.model, prompt=PROMPT, temperature=9)
    assert wrong.value.fields[0].loc == "temperature"


def test_what_is_there_beside_edits(client: Emmetd, server: Running) -> None:
    tokens = client.tokenization.tokenize(PROMPT, model=server.model, add_special_tokens=False).tokens
    assert client.tokenization.detokenize(tokens, model=server.model).strip() == PROMPT
    assert client.tokenization.info(model=server.model).model_max_length > 0
    assert "emmet" in [one.name for one in client.algorithms.list(model=server.model)]
    assert client.models.get(f"{server.model}@v1").parent == f"{server.model}@v0"
    assert server.model in [card.id for card in client.models.list()]
    assert "self" in [corpus.name for corpus in client.corpora.list()]
    assert {entry.action for entry in client.audit.list(model=server.model, page_size=2)} >= {"alias.moved"}
    statistic = client.statistics.create(model=server.model, layers=[1], tokens=256).wait(timeout=120)
    assert statistic.statistics is not None
    assert statistic.statistics[0].layer == 1
    assert [one.id for one in client.statistics.list(model=server.model)] == [statistic.id]
    assert (client.operations.live().status, client.operations.ready().status) == ("ok", "ok")
    assert "emmetd_" in client.operations.metrics()
    assert client.operations.server().offers("POST /v1/edits")


def test_who_may_not_is_told_what_is_missing(server: Running) -> None:
    command = [sys.executable, "-m", "cli.main", "keys", "create", "--data", str(server.data), "--label", "reader"]
    made = subprocess.run([*command, "--scope", "generate"], capture_output=True, text=True, check=True)
    key = made.stdout.strip()
    with Emmetd(server.url, api_key=key) as client, pytest.raises(ScopeMissingError) as refused:
        client.edits.create(model=server.model, facts=[fact("Paul Dirac")])
    assert (refused.value.scope, "edit" in str(refused.value)) == ("edit", True)
    with Emmetd(server.url) as client, pytest.raises(AuthenticationError, match="EMMETD_API_KEY"):
        client.models.list().to_list()


def test_what_is_wrong_with_facts_is_told_by_field(client: Emmetd, server: Running) -> None:
    with pytest.raises(InvalidFieldsError) as wrong:
        client.edits.create(
            model=server.model, facts=[fact("Rosa Parks"), {**fact("x").model_dump(exclude_none=True), "subject": " "}]
        )
    assert wrong.value.fields[0].loc.startswith("facts[1].subject")


def test_a_server_without_an_operation_says_its_release(client: Emmetd, server: Running) -> None:
    info = client.operations.server()
    call = "POST /v1/models/{model}/versions/{version}/deploy"
    assert not info.offers(call)
    if not info.offers("GET /v1/models/{name}/lineage"):
        with pytest.raises(NotOfferedError, match=f"emmetd {info.version}"):
            client.versions.lineage(server.model).to_list()


def test_the_asynchronous_client_does_the_same(server: Running, tmp_path: Path) -> None:
    async def everything() -> None:
        async with AsyncEmmetd(server.url, api_key=server.key) as client:
            job = await client.edits.create(model=server.model, facts=[fact("Mary Cassatt")], **QUICK)
            events = [event async for event in job.events()]
            assert any(isinstance(event, EditEvent) and event.state == "succeeded" for event in events)
            await job.wait(timeout=120)
            assert job.succeeded
            assert [kept.subject async for kept in job.facts()] == ["Mary Cassatt"]
            names = [version.version async for version in client.versions.list(server.model, page_size=1)]
            assert names[-1] == "v0"
            how: dict[str, Any] = {"model": job.reference or "", "max_tokens": 4, "temperature": 0}
            whole, other = await asyncio.gather(
                client.completions.create(prompt=PROMPT, **how),
                client.chat.create(messages=[{"role": "user", "content": PROMPT}], **how),
            )
            pieces = [piece.text async for piece in client.completions.stream(prompt=PROMPT, **how)]
            assert "".join(pieces) == whole.text
            assert other.system_fingerprint == job.reference
            evaluation = await client.evaluations.run(model=server.model, facts=[fact("Mary Cassatt")], timeout=120)
            assert len(await evaluation.rows().to_list()) == 1
            assert (await client.exports.download(server.model, "v1", to=tmp_path, timeout=120)).size > 0
            with pytest.raises(NotFoundError):
                await client.models.get("nobody")

    asyncio.run(everything())
