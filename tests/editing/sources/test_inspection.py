"""What is said of a model before its weights are fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from editing.architectures import ARCHITECTURES
from editing.errors import HubAwayError, ModelLoadError, UnknownRevisionError, UnsupportedModelError
from editing.sources.inspection import InspectedModel, inspect_model, same_source
from tests.support.stand_in_hub import COMMIT, NOWHERE, OTHER_COMMIT, Hub, point_at, served_hub, write_model


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served_hub(write_model(tmp_path / "on-the-hub")) as found:
        point_at(found.url, monkeypatch)
        yield found


def test_a_revision_becomes_its_commit_and_only_the_configuration_is_read(hub: Hub) -> None:
    assert inspect_model("owner/tiny") == InspectedModel("owner/tiny", COMMIT, "llama")
    assert inspect_model("owner/tiny", revision="v2").revision == OTHER_COMMIT
    assert inspect_model("owner/tiny", revision=OTHER_COMMIT).revision == OTHER_COMMIT
    assert set(hub.fetched) == {"config.json"}


def test_what_the_hub_does_not_have_is_said(hub: Hub) -> None:
    with pytest.raises(UnknownRevisionError, match="owner/tiny at v9: there is no such revision"):
        inspect_model("owner/tiny", revision="v9")
    with pytest.raises(ModelLoadError, match="there is no such model, or it is private and needs a token"):
        inspect_model("owner/other")
    with pytest.raises(ModelLoadError, match="no Hugging Face hub id"):
        inspect_model("no model at all")
    assert hub.fetched == []


def test_a_gated_model_needs_a_token(hub: Hub) -> None:
    hub.token = "hf_right"
    for token in (None, "hf_wrong"):
        with pytest.raises(ModelLoadError, match="access is gated; accept its terms on the hub and give a token"):
            inspect_model("owner/tiny", token=token)
    assert inspect_model("owner/tiny", token="hf_right").revision == COMMIT


def test_all_that_is_missing_is_named_at_once(hub: Hub) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        (hub.folder / name).unlink()
    (hub.folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ModelLoadError, match=r"no model\.safetensors and .*; it has no tokenizer\.json"):
        inspect_model("owner/tiny")
    (hub.folder / "model.safetensors.index.json").write_text("{}")
    for name in ("vocab.json", "merges.txt"):
        (hub.folder / name).write_text("")
    assert inspect_model("owner/tiny").model_type == "llama"
    (hub.folder / "config.json").unlink()
    with pytest.raises(ModelLoadError, match=r"has no config\.json: it is no model"):
        inspect_model("owner/tiny")


@pytest.mark.parametrize(
    ("config", "kind", "words"),
    [
        ({"model_type": "mamba"}, UnsupportedModelError, "model type 'mamba' cannot be edited; supported: gemma2"),
        ({"model_type": None}, UnsupportedModelError, "model type 'None' cannot be edited"),
        ({"quantization_config": {"quant_method": "gptq"}}, UnsupportedModelError, r"weights are quantised \(gptq\)"),
        ({"filler": "x" * (1 << 20)}, ModelLoadError, "that is no configuration"),
    ],
)
def test_a_configuration_that_cannot_be_edited_is_refused(
    hub: Hub, config: dict[str, Any], kind: type[Exception], words: str
) -> None:
    (hub.folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    with pytest.raises(kind, match=words):
        inspect_model("owner/tiny")


@pytest.mark.parametrize("content", ["not json", "[1]"])
def test_a_configuration_that_is_none_is_refused(hub: Hub, content: str) -> None:
    (hub.folder / "config.json").write_text(content)
    with pytest.raises(ModelLoadError, match=r"config\.json is no"):
        inspect_model("owner/tiny")


@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
def test_every_family_of_the_table_is_let_in(tmp_path: Path, family: str) -> None:
    folder = write_model(tmp_path / "a" / family, model_type=family)
    assert inspect_model(str(folder), folders=[tmp_path / "a"]) == InspectedModel(str(folder), None, family)


def test_a_hub_that_does_not_answer_may_do_so_later(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.is_broken = True
    with pytest.raises(HubAwayError, match="503"):
        inspect_model("owner/tiny")
    point_at(NOWHERE, monkeypatch)
    with pytest.raises(HubAwayError, match="Hugging Face hub, owner/tiny"):
        inspect_model("owner/tiny")


def test_only_folders_that_are_allowed_are_looked_at(tmp_path: Path) -> None:
    allowed = tmp_path / "models"
    inside, outside = write_model(allowed / "mine"), write_model(tmp_path / "private")
    (allowed / "link").symlink_to(outside)
    assert inspect_model(f"{allowed}/../models/mine", folders=[allowed]).reference == str(inside)
    for refused in (outside, allowed / "link", allowed / ".." / "private", tmp_path / "models-too", "/nowhere"):
        with pytest.raises(ModelLoadError, match=rf"in none that the operator allows \(model_folders: {allowed}\)"):
            inspect_model(str(refused), folders=[allowed])
    with pytest.raises(ModelLoadError, match=r"\(model_folders: none\)"):
        inspect_model(str(inside))
    with pytest.raises(ModelLoadError, match="there is no folder"):
        inspect_model(str(allowed / "nothing"), folders=[allowed])
    with pytest.raises(ModelLoadError, match="not an absolute path"):
        inspect_model("./mine", folders=[allowed])
    with pytest.raises(UnknownRevisionError, match="has no revisions"):
        inspect_model(str(inside), revision="main", folders=[allowed])


def test_two_names_of_one_place_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert same_source("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct")
    assert same_source("./mine", str(folder))
    assert not same_source("owner/tiny", "owner/other")
