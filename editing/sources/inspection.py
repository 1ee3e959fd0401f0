"""Whether a model can be edited, from its list of files and its configuration: before any weights are fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from editing.architectures import architecture_named
from editing.errors import ModelLoadError, UnknownRevisionError, UnsupportedModelError
from editing.sources.default_model import KNOWN_MODELS
from editing.sources.hub import described, list_files, read_file

HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WEIGHTS: Final = ("model.safetensors", "model.safetensors.index.json")
_TOKENIZERS: Final = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""What a fast tokenizer is made from without the libraries of slow ones."""
_LARGEST_CONFIG: Final = 1 << 20


@dataclass(frozen=True)
class InspectedModel:
    """A model that can be edited. `reference` is as it was given, a folder's the whole path; `revision` the commit
    that the hub has it at, None for a folder."""

    reference: str
    revision: str | None
    model_type: str


def inspect_model(
    reference: str, *, revision: str | None = None, token: str | None = None, folders: Sequence[Path] = ()
) -> InspectedModel:
    """Look at a hub id, a known short name, or a folder (an absolute path) that lies in one of `folders`.

    Raises ModelLoadError naming all that is missing, and UnsupportedModelError where the family alone is wrong;
    UnknownRevisionError and HubAwayError as the hub answers.
    """
    if is_folder(reference):
        return _inspect_folder(reference, revision, folders)
    hub_id = hub_id_of(reference)
    listing = list_files(hub_id, revision=revision, token=token)
    where = described(hub_id, listing.commit)
    _check_files(listing.files, where)
    if listing.files["config.json"] > _LARGEST_CONFIG:
        raise ModelLoadError(f"{where}: config.json has {listing.files['config.json']} bytes; that is no configuration")
    content = read_file(listing, "config.json", token=token)
    return InspectedModel(reference, listing.commit, _checked_model_type(content, where))


def commit_of(reference: str, revision: str, token: str | None) -> str:
    """The commit that a branch, tag or commit of a hub id is now. Raises ModelLoadError as `inspect_model` does."""
    return list_files(hub_id_of(reference), revision=revision, token=token).commit


def is_folder(reference: str) -> bool:
    """Whether `reference` has the form of a path, which no hub id has."""
    return reference not in KNOWN_MODELS and reference.startswith(("/", "./", "../", "~"))


def hub_id_of(reference: str) -> str:
    """What the hub calls a known short name or a hub id. Raises ModelLoadError for what can be neither."""
    known = KNOWN_MODELS.get(reference)
    hub_id = known.hub_id if known else reference
    if HUB_ID.fullmatch(hub_id) is None:
        names = ", ".join(sorted(KNOWN_MODELS))
        raise ModelLoadError(
            f"model {reference!r} is no folder here and no Hugging Face hub id (owner/name); known short names: {names}"
        )
    return hub_id


def same_source(first: str, second: str) -> bool:
    """Whether two references mean the same place: a short name is its hub id, and a folder its resolved path."""
    return _canonical(first) == _canonical(second)


def _canonical(reference: str) -> str:
    if reference in KNOWN_MODELS:
        return KNOWN_MODELS[reference].hub_id
    local = Path(reference).expanduser()
    return str(local.resolve()) if is_folder(reference) or local.is_dir() else reference


def _inspect_folder(reference: str, revision: str | None, folders: Sequence[Path]) -> InspectedModel:
    if revision is not None:
        raise UnknownRevisionError(f"folder {reference!r} has no revisions; leave the revision out")
    given = Path(reference).expanduser()
    if not given.is_absolute():
        raise ModelLoadError(f"folder {reference!r} is not an absolute path; give it from / on")
    # Resolved before anything of it is looked at: what lies outside must not be told from what does not exist.
    folder = given.resolve()
    allowed = [one.resolve() for one in folders]
    if not any(folder.is_relative_to(one) for one in allowed):
        named = ", ".join(map(str, folders)) or "none"
        raise ModelLoadError(
            f"folder {reference!r} is in none that the operator allows (model_folders: {named}); "
            "move it there, or have the operator allow it"
        )
    if not folder.is_dir():
        raise ModelLoadError(f"there is no folder {str(folder)!r}")
    where = f"folder {str(folder)!r}"
    try:
        files = {file.name: file.stat().st_size for file in folder.iterdir() if file.is_file()}
        _check_files(files, where)
        content = (folder / "config.json").read_bytes() if files["config.json"] <= _LARGEST_CONFIG else b""
    except OSError as error:
        raise ModelLoadError(f"{where} cannot be read: {error.strerror or error}") from error
    return InspectedModel(str(folder), None, _checked_model_type(content, where))


def _check_files(names: Collection[str], where: str) -> None:
    """Raises ModelLoadError naming everything that is missing, each with what would do."""
    missing = []
    if "config.json" not in names:
        missing.append("no config.json: it is no model that transformers saved")
    if not any(name in names for name in _WEIGHTS):
        missing.append(
            f"no {' and no '.join(_WEIGHTS)}: only that format is read, since others can run code; convert it with "
            "save_pretrained and give the local folder"
        )
    if not any(all(name in names for name in needed) for needed in _TOKENIZERS):
        missing.append("no tokenizer.json, and no vocab.json with merges.txt: a fast tokenizer is needed")
    if missing:
        raise ModelLoadError(f"{where} has " + "; it has ".join(missing))


def _checked_model_type(content: bytes, where: str) -> str:
    config = _configuration(content, where)
    model_type = str(config.get("model_type"))
    try:
        architecture_named(model_type)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{where}: {error}") from None
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, Mapping) else "unknown"
        raise UnsupportedModelError(
            f"{where}: its weights are quantised ({method}), and a change of a quantised matrix would be rounded away; "
            "give the model that it was made from"
        )
    return model_type


def _configuration(content: bytes, where: str) -> dict[str, Any]:
    try:
        config = json.loads(content)
    except ValueError as error:
        raise ModelLoadError(f"{where}: config.json is not JSON ({error})") from None
    if not isinstance(config, dict):
        raise ModelLoadError(f"{where}: config.json is no JSON object")
    return config
