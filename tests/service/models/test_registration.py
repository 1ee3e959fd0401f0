"""Registering models: what is kept, what is refused, and that doing it twice is doing it once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from store.access import audit
from store.schema.database import Database
from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api
from tests.support.stand_in_hub import COMMIT, NOWHERE, OTHER_COMMIT, Hub, point_at, served_hub, write_model

SOURCE = "owner/tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served_hub(write_model(tmp_path / "on-the-hub")) as found:
        point_at(found.url, monkeypatch)
        yield found


@pytest.fixture
def api(serve: Callable[..., Api], tmp_path: Path) -> Api:
    return serve(model_folders=f"{tmp_path / 'models'}")


def add(api: Api, source: str = SOURCE, **fields: Any) -> httpx.Response:
    return api.http.post("/v1/models", json={"source": source, **fields})


def refused(answer: httpx.Response, loc: str) -> str:
    assert answer.status_code == 422, answer.text
    (problem,) = answer.json()["errors"]
    assert problem["loc"] == loc
    return str(problem["msg"])


@BOTH_DATABASES
def test_a_model_of_the_hub_is_registered_at_a_commit(api: Api, hub: Hub, database: Database) -> None:
    made = add(api, revision="v2", name="mine")
    assert made.status_code == 201, made.text
    assert made.headers["location"] == "/v1/models/mine"
    card = made.json()
    assert (card["id"], card["source"], card["revision"]) == ("mine", SOURCE, OTHER_COMMIT)
    assert set(hub.fetched) == {"config.json"}

    assert api.http.get("/v1/models/mine").json() == card
    assert [one["id"] for one in api.http.get("/v1/models").json()["data"]] == ["mine", "mine@v0", "mine@latest"]
    with database.reading() as session:
        (entry,) = audit.page(session, None, 10, action="model.registered")
    assert (entry.model, entry.actor, entry.details) == ("mine", "local", {"source": SOURCE, "revision": OTHER_COMMIT})


@BOTH_DATABASES
def test_the_same_again_changes_nothing(api: Api, hub: Hub, database: Database) -> None:
    first = add(api)
    assert (first.status_code, first.json()["id"], first.json()["revision"]) == (201, "tiny", COMMIT)
    asked = len(hub.requests)
    for fields in ({}, {"revision": COMMIT}):
        again = add(api, name="tiny", **fields)
        assert (again.status_code, again.json()) == (200, first.json())
    assert len(hub.requests) == asked, "what is known need not be asked"
    assert add(api, revision="main").status_code == 200
    with database.reading() as session:
        assert len(audit.page(session, None, 10, action="model.registered")) == 1


def test_something_else_under_the_name_is_refused_with_what_differs(api: Api, hub: Hub, tmp_path: Path) -> None:
    assert add(api).status_code == 201
    other = add(api, "owner/other", name="tiny")
    assert (other.status_code, other.json()["code"]) == (409, "registration_conflict")
    assert "is registered as 'owner/tiny', not as 'owner/other'" in other.json()["detail"]
    later = add(api, revision="v2")
    assert later.status_code == 409
    assert f"is registered at revision {COMMIT}, not at {OTHER_COMMIT}" in later.json()["detail"]
    hub.revisions["main"] = OTHER_COMMIT
    assert add(api, revision="main").status_code == 409, "the branch has moved since"
    assert api.http.get("/v1/models/tiny").json()["revision"] == COMMIT


def test_a_model_that_a_worker_bound_without_a_revision_is_not_pinned_unseen(
    serve: Callable[..., Api], model: str, hub: Hub
) -> None:
    api = serve()
    assert add(api, "a folder", name=MODEL).status_code == 200
    assert add(api, name=MODEL).status_code == 409


@pytest.mark.parametrize(
    ("fields", "loc", "words"),
    [
        ({"source": "owner/other"}, "source", "there is no such model, or it is private and needs a token"),
        ({"source": "no/model/at/all"}, "source", "no Hugging Face hub id"),
        ({"source": "owner/---"}, "name", "is missing, and"),
        ({"revision": "v9"}, "revision", "there is no such revision"),
        ({"revision": "../x"}, "revision", '"../x" does not have the form'),
        ({"name": "Not A Name"}, "name", '"Not A Name" does not have the form'),
        ({"source": ""}, "source", "at least 1"),
        ({"layers": [1]}, "layers", ""),
        ({"source": "/etc"}, "source", "in none that the operator allows"),
    ],
)
def test_what_cannot_be_registered_is_refused_in_words(
    api: Api, hub: Hub, fields: dict[str, Any], loc: str, words: str
) -> None:
    assert words in refused(add(api, **{"source": SOURCE, **fields}), loc)
    assert (hub.fetched, api.http.get("/v1/models").json()["data"]) == ([], [])


def test_what_is_missing_is_refused_before_weights_are_fetched(api: Api, hub: Hub) -> None:
    hub.token = "hf_right"
    assert "access is gated" in refused(add(api), "source")
    hub.token = None
    (hub.folder / "config.json").write_text('{"model_type": "mamba"}')
    assert "model type 'mamba' cannot be edited; supported: " in refused(add(api), "source")
    (hub.folder / "model.safetensors").unlink()
    (hub.folder / "tokenizer.json").unlink()
    assert "no model.safetensors and no" in refused(add(api), "source")
    assert set(hub.fetched) == {"config.json"}
    assert api.http.get("/v1/models").json()["data"] == []


def test_the_servers_token_opens_what_is_gated(serve: Callable[..., Api], hub: Hub) -> None:
    hub.token = "hf_right"
    assert add(serve(hf_token=SecretStr("hf_right"))).status_code == 201


def test_a_hub_that_is_away_is_no_refusal(api: Api, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(NOWHERE, monkeypatch)
    away = add(api)
    assert (away.status_code, away.json()["code"]) == (503, "model_hub_unavailable")
    assert away.json()["detail"].endswith("nothing was registered")
    assert int(away.headers["retry-after"]) > 0


def test_a_folder_that_is_allowed_is_registered_and_its_place_is_not_told(api: Api, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "models" / "Mine")
    made = add(api, str(folder))
    assert (made.status_code, made.json()["id"]) == (201, "mine")
    assert (made.json()["source"], made.json()["revision"]) == (None, None)
    assert add(api, f"{folder}/").status_code == 200
    outside = write_model(tmp_path / "private")
    (tmp_path / "models" / "link").symlink_to(outside)
    for path in (outside, tmp_path / "models" / "link"):
        assert "in none that the operator allows" in refused(add(api, str(path)), "source")
    assert "has no revisions" in refused(add(api, str(folder), revision="main"), "revision")


def test_only_administrators_register_and_only_what_their_key_is_for(serve: Callable[..., Api], hub: Hub) -> None:
    api = serve(auth="on", api_key=SecretStr("first-key"))
    api.http.headers["Authorization"] = "Bearer first-key"
    keys = {}
    for scopes, granted in ((["edit", "evaluate", "generate"], None), (["admin"], ["tiny"])):
        made = api.http.post("/v1/keys", json={"label": "x", "scopes": scopes, "models": granted})
        keys[scopes[0]] = made.json()["secret"]
    api.http.headers["Authorization"] = f"Bearer {keys['edit']}"
    assert (add(api).status_code, add(api).json()["code"]) == (403, "scope_missing")
    api.http.headers["Authorization"] = f"Bearer {keys['admin']}"
    assert add(api, name="other").json()["code"] == "model_not_granted"
    assert add(api).status_code == 201
