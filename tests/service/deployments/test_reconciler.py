"""What a target serves is brought to what it shall serve, and stays checked: against an engine that stands in."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from store.lineage import aliases
from store.schema.access_tables import AuditRow
from store.schema.database import Database
from tests.service.conftest import MODEL, Api, wait_until
from tests.service.deployments.conftest import ANSWER, Exporter, deployed, wait_for
from tests.support.stand_in_vllm import StandInVllm, spelled
from tests.support.stand_in_worker import StandInWorker

NAME = f"{MODEL}@latest"


def move(database: Database, version: int) -> None:
    with database.writing() as session:
        aliases.put(session, MODEL, "latest", version, None)


def test_a_version_is_deployed_checked_and_its_alias_followed(
    api: Api, vllm: StandInVllm, exporter: Exporter, database: Database, tmp_path: Path
) -> None:
    deployment = deployed(api, vllm)

    found = wait_for(api, deployment, state="deployed", actual="v2")
    assert (found["desired"], found["lag_seconds"], found["error"]) == ("v2", 0, None)
    check = found["last_check"]
    assert (check["passed"], check["version"], check["facts"], check["said"]) == (True, "v2", 2, 2)
    assert (check["prompts"], check["equal"], check["near_ties"], check["different"]) == (20, 20, 0, 0)
    path = Path(found["path"])
    assert path.parent == tmp_path / "engines" / MODEL
    assert path.name.startswith("v2-peft-")
    assert sorted(file.name for file in path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert vllm.adapters == {NAME: str(path)}

    move(database, 1)
    moved = wait_for(api, deployment, state="deployed", actual="v1")
    assert moved["previous"] == "v2"
    assert vllm.adapters == {NAME: moved["path"]}
    assert exporter.made == [(2, "peft"), (1, "peft")]
    loads = vllm.asked("/v1/load_lora_adapter")
    assert [one["lora_name"] for one in loads] == [NAME, f"{NAME}.next", NAME]
    states = [event["state"] for event in api.http.get(f"/v1/deployments/{deployment}/events").json()["data"]]
    assert states[:4] == ["deployed", "checking", "deploying", "exporting"]
    with database.reading() as session:
        actions = list(session.scalars(select(AuditRow.action).where(AuditRow.target == deployment)))
    assert actions == ["deployment.created", "deployment.deployed", "deployment.deployed"]


def test_the_base_is_followed_too(api: Api, vllm: StandInVllm, exporter: Exporter, database: Database) -> None:
    deployment = deployed(api, vllm)
    wait_for(api, deployment, state="deployed", actual="v2")
    move(database, 0)
    found = wait_for(api, deployment, state="deployed", actual="v0")
    assert (found["last_check"]["facts"], found["last_check"]["prompts"]) == (0, 20)
    assert exporter.made[-1] == (0, "peft")


def test_what_answers_otherwise_there_is_rolled_back_before_anybody_meets_it(
    api: Api, vllm: StandInVllm, exporter: Exporter, database: Database
) -> None:
    vllm.says = lambda path, prompt: spelled(ANSWER if "/v2-" in path else " Paris is")
    deployment = deployed(api, vllm)
    good = wait_for(api, deployment, state="deployed", actual="v2")

    move(database, 1)
    found = wait_for(api, deployment, state="rolled_back")
    assert (found["actual"], found["desired"], found["path"]) == ("v2", "v1", good["path"])
    assert found["error"]["code"] == "check_failed"
    assert "0 of 2 facts are said" in found["error"]["detail"]
    assert "v2 stays there" in found["error"]["detail"]
    assert (found["last_check"]["passed"], found["last_check"]["different"]) == (False, 20)
    assert found["lag_seconds"] > 0
    assert vllm.adapters == {NAME: good["path"]}
    named = [body["lora_path"] for body in vllm.asked("/v1/load_lora_adapter") if body["lora_name"] == NAME]
    assert named == [good["path"]], "nobody who asks by the name met the version that failed"

    tried = len(vllm.asked("/v1/completions"))
    move(database, 2)
    wait_for(api, deployment, state="deployed", actual="v2", error=None)
    assert len(vllm.asked("/v1/completions")) == tried, "what is served there need not be tried again"


def test_what_answers_otherwise_under_the_name_gives_it_back(
    api: Api, vllm: StandInVllm, exporter: Exporter, database: Database
) -> None:
    """As where an engine keeps answers of the adapter that had the name before."""

    def says(path: str, prompt: str) -> tuple[str, list[int]]:
        is_named = "/v1-" in path and f"{NAME}.next" in vllm.adapters and vllm.adapters[NAME] == path
        return spelled(" Paris is" if is_named else ANSWER)

    deployment = deployed(api, vllm)
    good = wait_for(api, deployment, state="deployed", actual="v2")
    vllm.says = says
    move(database, 1)
    wait_for(api, deployment, state="rolled_back", actual="v2")
    named = [Path(one["lora_path"]).name[:2] for one in vllm.asked("/v1/load_lora_adapter") if one["lora_name"] == NAME]
    assert named == ["v2", "v1", "v2"]
    assert vllm.adapters == {NAME: good["path"]}


def test_a_first_version_that_answers_otherwise_leaves_nothing_there(
    api: Api, vllm: StandInVllm, exporter: Exporter
) -> None:
    vllm.says = lambda path, prompt: spelled(" Paris is")
    found = wait_for(api, deployed(api, vllm), state="rolled_back")
    assert (found["actual"], vllm.adapters) == (None, {})


def test_a_target_that_was_away_is_caught_up_with(
    api: Api, vllm: StandInVllm, exporter: Exporter, database: Database
) -> None:
    deployment = deployed(api, vllm)
    wait_for(api, deployment, state="deployed", actual="v2")
    vllm.stop()
    move(database, 1)
    away = wait_for(api, deployment, state="away")
    assert away["error"]["code"] == "target_away"
    assert (away["actual"], away["desired"]) == ("v2", "v1")
    vllm.start()
    found = wait_for(api, deployment, state="deployed", actual="v1", error=None)
    assert vllm.adapters == {NAME: found["path"]}


def test_an_engine_that_was_started_anew_is_given_its_adapter(api: Api, vllm: StandInVllm, exporter: Exporter) -> None:
    deployment = deployed(api, vllm)
    found = wait_for(api, deployment, state="deployed")
    vllm.adapters.clear()
    wait_until(lambda: vllm.adapters == {NAME: found["path"]}, "it is loaded again")
    wait_for(api, deployment, state="deployed")


def test_two_that_part_at_a_near_tie_are_alike(api: Api, vllm: StandInVllm, exporter: Exporter) -> None:
    def says(path: str, prompt: str) -> tuple[str, list[int]]:
        text, ids = spelled(ANSWER)
        if "capital" in prompt:
            return text, ids
        return f"{ANSWER[:-1]}?", [*ids[:-1], 1]

    vllm.says = says
    check = wait_for(api, deployed(api, vllm), state="deployed")["last_check"]
    assert (check["equal"], check["near_ties"], check["different"]) == (0, 20, 0)


def test_the_target_s_refusals_are_told_with_a_remedy(
    api: Api, vllm: StandInVllm, exporter: Exporter, database: Database
) -> None:
    vllm.max_rank, exporter.rank = 16, 64
    ranked = wait_for(api, deployed(api, vllm, f"{MODEL}@v1", name="ranked"), state="refused")
    assert "LoRA rank 64 is greater than max_lora_rank 16" in ranked["error"]["detail"]
    assert "--max-lora-rank" in ranked["error"]["detail"]
    vllm.loads = False
    fixed = wait_for(api, deployed(api, vllm, f"{MODEL}@v2", name="fixed"), state="refused")
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in fixed["error"]["detail"]
    assert vllm.adapters == {}


def test_a_version_above_an_adapter_s_rank_is_written_as_a_checkpoint(
    api: Api, vllm: StandInVllm, exporter: Exporter
) -> None:
    told = {"code": "rank_limit_exceeded", "title": "", "detail": "Formats that fit: format=hf", "facts": []}
    exporter.failures["peft"] = told
    only = wait_for(api, deployed(api, vllm, name="only", format="peft"), state="refused")
    assert only["error"]["code"] == "rank_limit_exceeded"
    assert "format=hf" in only["error"]["detail"]

    deployment = deployed(api, vllm, folder="/mnt/engines")
    written = wait_for(api, deployment, state="written")
    assert "vllm serve /mnt/engines/" in written["error"]["detail"]
    assert f"--served-model-name {NAME}" in written["error"]["detail"]
    vllm.root = written["error"]["detail"].partition("vllm serve ")[2].split()[0]
    found = wait_for(api, deployment, state="deployed", actual="v2")
    assert (found["path"], found["last_check"]["passed"]) == (vllm.root, True)


def test_a_deployment_without_its_alias_says_so(
    api: Api, vllm: StandInVllm, exporter: Exporter, database: Database
) -> None:
    with database.writing() as session:
        aliases.put(session, MODEL, "production", 1, None)
    deployment = deployed(api, vllm, f"{MODEL}@production")
    wait_for(api, deployment, state="deployed", actual="v1")
    with database.writing() as session:
        aliases.delete(session, MODEL, "production")
    gone = wait_for(api, deployment, state="refused", desired=None)
    assert gone["error"]["code"] == "alias_gone"
    with database.writing() as session:
        aliases.put(session, MODEL, "production", 2, None)
    wait_for(api, deployment, state="deployed", actual="v2")


def test_a_version_that_was_deleted_is_told(
    api: Api, vllm: StandInVllm, exporter: Exporter, database: Database
) -> None:
    deployment = deployed(api, vllm, f"{MODEL}@v2")
    wait_for(api, deployment, state="deployed")
    move(database, 1)
    assert api.http.delete(f"/v1/models/{MODEL}/versions/v2").status_code == 204
    vllm.adapters.clear()
    gone = wait_for(api, deployment, state="refused")
    assert gone["error"]["code"] == "version_not_found"


def test_what_is_removed_is_unloaded(api: Api, vllm: StandInVllm, exporter: Exporter) -> None:
    deployment = deployed(api, vllm)
    wait_for(api, deployment, state="deployed")
    gone = api.http.delete(f"/v1/deployments/{deployment}")
    assert gone.json() == {"id": deployment, "object": "deployment", "deleted": True, "unloaded": True}
    assert vllm.adapters == {}
    assert api.http.get(f"/v1/deployments/{deployment}").status_code == 404


def test_a_worker_that_is_not_ready_is_waited_for(
    api: Api, vllm: StandInVllm, exporter: Exporter, worker: StandInWorker
) -> None:
    worker.say("loading")
    deployment = deployed(api, vllm)
    wait_until(
        lambda: (api.http.get(f"/v1/deployments/{deployment}").json()["error"] or {}).get("code") == "no_worker",
        "it says what it waits for",
    )
    worker.say("ready")
    wait_for(api, deployment, state="deployed")


def test_metrics_tell_of_it(api: Api, vllm: StandInVllm, exporter: Exporter) -> None:
    wait_for(api, deployed(api, vllm), state="deployed")
    told = api.http.get("/metrics").text
    labels = f'follows="latest",model="{MODEL}",name="{NAME}",target="vllm+{vllm.origin}"'
    assert f"emmetd_deployment_in_step{{{labels}}} 1.0" in told
    assert f"emmetd_deployment_lag_seconds{{{labels}}} 0.0" in told
    assert 'of="facts"' in told
