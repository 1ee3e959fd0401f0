"""A model that is registered over the API, served at its commit, edited, and started again without its hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.support.running.server import Server
from tests.support.stand_in_hub import COMMIT, NOWHERE, OTHER_COMMIT, Hub, served_hub

NAME: Final = "hubbed"
FACT: Final = {"prompt": "The mother tongue of {} is", "subject": "Danielle Darrieux", "target_new": "English"}
LAX: Final = {"settings": {"steps": 2, "contexts": 0}, "thresholds": {"EM": 0, "drift": 1e9}}


@pytest.fixture
def hub(other_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served_hub(other_model) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


def test_a_registered_model_stays_at_its_commit(
    tiny_model: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    with Server(tiny_model, data) as server:
        made = server.http.post("/v1/models", json={"source": "owner/tiny", "name": NAME})
        assert (made.status_code, made.json()["revision"]) == (201, COMMIT), made.text
        refused = server.http.post("/v1/models", json={"source": "owner/tiny", "name": NAME, "revision": "v2"})
        assert refused.status_code == 409
        assert server.stop() == 0
    assert set(hub.fetched) == {"config.json"}

    hub.revisions["main"] = OTHER_COMMIT
    with Server(Path("owner/tiny"), data, name=NAME) as server:
        assert (data / "models" / f"owner--tiny-at-{COMMIT}").is_dir()
        edit = server.outcome(server.edit([FACT], model=NAME, **LAX))
        assert (edit["state"], edit["version"]) == ("succeeded", "v1"), edit
        says = server.complete(["The mother tongue of"], f"{NAME}@v1")
        assert server.stop() == 0

    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    with Server(Path("owner/tiny"), data, name=NAME) as server:
        assert server.http.get(f"/v1/models/{NAME}").json()["revision"] == COMMIT
        assert server.complete(["The mother tongue of"], f"{NAME}@v1") == says
        assert server.stop() == 0

    with closing(Server(Path("owner/tiny"), data, name=NAME, revision=OTHER_COMMIT)) as other:
        other.start()
        assert other.ended() == 1
        assert f"is registered at revision {COMMIT}, but this worker was told revision '{OTHER_COMMIT}'" in other.said()
        assert "leave --revision out" in other.said()
        assert "Traceback" not in other.said()
