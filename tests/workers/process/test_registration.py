"""Which model and revision a worker takes, by what its NAME is registered with and what it was told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configuration.settings import Settings
from editing.errors import HubAwayError, ModelLoadError
from editing.model.loading import LoadedModel, load_model
from store.blobs.folder import FolderBlobStore
from store.errors import FingerprintConflictError, RegistrationConflictError
from store.lineage import models
from store.schema.database import Database
from tests.support.stand_in_hub import COMMIT, NOWHERE, OTHER_COMMIT, Hub, point_at, served_hub
from tests.support.tiny_loaded import save_tiny
from workers.process.main import bind_model
from workers.process.registration import as_registered

NAME = "mine"
SOURCE = "owner/tiny"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def told(tmp_path: Path, database_url: str) -> Callable[..., Settings]:
    return lambda **given: Settings(
        **{"data": tmp_path, "database_url": database_url, "auth": "off", "model_name": NAME, **given}
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("saved") / "tiny-llama")


@pytest.fixture
def hub(saved: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served_hub(saved) as found:
        point_at(found.url, monkeypatch)
        yield found


def register(database: Database, source: str = SOURCE, revision: str | None = COMMIT) -> None:
    with database.writing() as session:
        models.register(session, NAME, source, revision=revision)


def load(settings: Settings) -> LoadedModel:
    return load_model(settings.model, cache=settings.data, name=settings.served_model_name, revision=settings.revision)


def bind(database: Database, settings: Settings, loaded: LoadedModel) -> str | None:
    """The revision that is registered then."""
    bind_model(database, FolderBlobStore(settings.data / "blobs"), settings, loaded)
    with database.reading() as session:
        return models.get(session, NAME).revision


def taken(database: Database, settings: Settings) -> tuple[Any, ...]:
    found = as_registered(database, settings)
    return found.model, found.revision, found.served_model_name


def test_a_name_that_nobody_registered_is_as_it_was_told(database: Database, told: Callable[..., Settings]) -> None:
    for settings in (told(), told(model=SOURCE, revision="v2")):
        assert as_registered(database, settings) is settings


def test_the_registered_model_and_commit_are_taken(database: Database, told: Callable[..., Settings]) -> None:
    register(database)
    for given in ({}, {"model": SOURCE}, {"revision": COMMIT}, {"model": SOURCE, "revision": COMMIT[:7].upper()}):
        assert taken(database, told(**given)) == (SOURCE, COMMIT, NAME)
    assert taken(database, told(model_name="smollm2-135m")) == ("smollm2-135m", None, "smollm2-135m")


def test_a_short_name_is_its_hub_id(database: Database, told: Callable[..., Settings]) -> None:
    register(database, "HuggingFaceTB/SmolLM2-135M-Instruct")
    assert taken(database, told(model="smollm2-135m"))[1] == COMMIT


def test_another_revision_is_refused_with_both_and_the_remedy(
    database: Database, told: Callable[..., Settings], hub: Hub
) -> None:
    register(database)
    words = f"'mine' is registered at revision {COMMIT}, but this worker was told revision '{OTHER_COMMIT}'; leave"
    with pytest.raises(RegistrationConflictError, match=words):
        as_registered(database, told(revision=OTHER_COMMIT))
    assert hub.requests == [], "two commits are told apart without the hub"
    with pytest.raises(RegistrationConflictError, match=f"'v2', which is {OTHER_COMMIT}; leave --revision out"):
        as_registered(database, told(revision="v2"))
    assert taken(database, told(revision="main")) == (SOURCE, COMMIT, NAME)
    assert hub.fetched == []


def test_a_branch_that_was_fetched_needs_no_hub(
    database: Database, told: Callable[..., Settings], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = told(model=SOURCE, revision="main")
    loaded = load(as_registered(database, settings))
    assert bind(database, settings, loaded) == COMMIT
    point_at(NOWHERE, monkeypatch)
    assert load(as_registered(database, settings)).folder == loaded.folder
    with pytest.raises(HubAwayError):
        as_registered(database, told(model=SOURCE, revision="v2"))


def test_the_first_worker_pins_what_it_loaded_and_the_next_one_loads_that(
    database: Database, told: Callable[..., Settings], hub: Hub, tmp_path: Path
) -> None:
    """As after an upgrade: the name is bound, and no revision is kept with it."""
    register(database, revision=None)
    settings = as_registered(database, told())
    assert (settings.model, settings.revision) == (SOURCE, None)
    assert bind(database, settings, load(settings)) == COMMIT
    hub.revisions["main"] = OTHER_COMMIT
    elsewhere = as_registered(database, told(model=SOURCE, data=tmp_path / "other"))
    assert load(elsewhere).source == {"hub_id": SOURCE, "revision": COMMIT}


def test_another_model_is_refused_until_weights_decide(
    database: Database, told: Callable[..., Settings], hub: Hub, saved: Path
) -> None:
    register(database)
    folder = told(model=str(saved))
    words = "'mine' is registered as 'owner/tiny', but this worker was told to load .*tiny-llama'; leave --model out"
    with pytest.raises(RegistrationConflictError, match=words):
        as_registered(database, folder)
    registered = as_registered(database, told())
    loaded = load(registered)
    bind(database, registered, loaded)
    assert as_registered(database, folder) is folder
    same = load(folder)
    assert bind(database, folder, same) == COMMIT, "the same weights may lie elsewhere too"
    with pytest.raises(FingerprintConflictError):
        bind(database, folder, replace(same, fingerprint="0" * 64))


def test_a_commit_that_was_registered_meanwhile_is_not_overruled(
    database: Database, told: Callable[..., Settings], hub: Hub
) -> None:
    settings = as_registered(database, told(model=SOURCE))
    loaded = load(settings)
    register(database, revision=OTHER_COMMIT)
    words = f"at revision {OTHER_COMMIT}, but this worker loaded {COMMIT}; start it again without a revision"
    with pytest.raises(RegistrationConflictError, match=words):
        bind(database, settings, loaded)


def test_a_registered_folder_is_loaded_without_a_revision(
    database: Database, told: Callable[..., Settings], saved: Path
) -> None:
    register(database, str(saved), revision=None)
    settings = as_registered(database, told())
    assert bind(database, settings, load(settings)) is None
    with pytest.raises(ModelLoadError, match="has no revisions"):
        load(as_registered(database, told(revision="main")))
