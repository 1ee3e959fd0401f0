"""Loads a model by its name, hub id or folder as a `LoadedModel`, ready to be edited.

Fetched models are kept as `<cache>/models/<slug>/`, whole or not at all; a start that finds one needs no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from editing.atomic_files import exclusive, publish_folder, scratch_folder, sweep
from editing.errors import ModelLoadError
from editing.methods import ModelShape
from editing.model.decoder import Decoder
from editing.model.fingerprint import remembered_weights_fingerprint, tokenizer_fingerprint
from editing.progress import ProgressCallback, silent
from editing.sources.default_model import DEFAULT_MODEL, KNOWN_MODELS, fetch_packaged
from editing.sources.hub import fetch_from_hub
from editing.sources.inspection import hub_id_of, is_folder

_SOURCE_FILE = "source.json"


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory. `tokenizer` is transformers' fast tokenizer; its `backend_tokenizer` is `tokenizers`' own.

    `source` says where the weights came from (hub id and commit, package and hash, or folder), for provenance.
    """

    name: str
    source: dict[str, str]
    folder: Path
    decoder: Decoder
    tokenizer: Any
    fingerprint: str
    tokenizer_fingerprint: str
    dtype: torch.dtype
    shape: ModelShape
    n_parameters: int

    @property
    def backend_tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer`: text ↔ ids with offsets."""
        return self.tokenizer.backend_tokenizer


def load_model(
    reference: str = DEFAULT_MODEL,
    *,
    cache: Path,
    name: str | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    revision: str | None = None,
    token: str | None = None,
    rounded_products: bool = False,
    on_progress: ProgressCallback = silent,
) -> LoadedModel:
    """Fetch `reference` where it is not in `cache` yet, load it and take its fingerprints.

    `reference` is a known short name, a hub id, or a local folder (absolute, or with a path separator's `./`).
    `rounded_products` is the `Decoder`'s. Reads safetensors only and runs no code of the model's repository.
    Raises ModelLoadError saying what was tried and what to do; UnsupportedModelError for a family that has no row, or
    for a configuration that would not be computed right.
    """
    folder = prepare_model(reference, cache=cache, revision=revision, token=token, on_progress=on_progress)
    on_progress("load model", 0, 1)
    with _quiet_transformers():
        model, tokenizer = _read(folder, dtype)
    decoder = Decoder(model.to(device), rounded_products=rounded_products)
    memory = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    weights = remembered_weights_fingerprint(model, folder, cache / "fingerprints" / f"{memory}.json")
    loaded = LoadedModel(
        name=name or _slug(reference, revision=None),
        source=_source_of(folder),
        folder=folder,
        decoder=decoder,
        tokenizer=tokenizer,
        fingerprint=weights,
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer.backend_tokenizer.to_str()),
        dtype=decoder.dtype,
        shape=ModelShape(str(model.config.model_type), len(decoder.layers), decoder.projections[0].d_in),
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    on_progress("load model", 1, 1)
    return loaded


def prepare_model(
    reference: str,
    *,
    cache: Path,
    revision: str | None = None,
    token: str | None = None,
    on_progress: ProgressCallback = silent,
) -> Path:
    """The folder that holds `reference` at `revision`, fetched first where need be. Raises ModelLoadError.

    A revision is one of the hub's: it is not looked for in a local folder that has the form of a hub id.
    """
    if is_folder(reference) and revision is not None:
        raise ModelLoadError(f"folder {reference!r} has no revisions; leave out revision {revision!r}")
    local = _local_folder(reference, revision)
    if local is not None:
        if not (local / "config.json").is_file():
            raise ModelLoadError(f"folder {reference!r} has no config.json; give a folder that transformers saved")
        return local
    known = KNOWN_MODELS.get(reference)
    hub_id = hub_id_of(reference)
    kept = kept_folder(reference, cache=cache, revision=revision)
    if kept is not None:
        return kept
    target = cache / "models" / _slug(reference, revision)
    with exclusive(target):
        if target.is_dir():  # another process prepared it while this one waited
            return target
        sweep(target)
        tried: list[str] = []
        partial = target.with_name(f".{target.name}.download")
        try:
            source = fetch_from_hub(hub_id, partial, revision=revision, token=token, on_progress=on_progress)
            _write_source(partial, source)
            publish_folder(partial, target)
            return target
        except ModelLoadError as error:
            tried.append(str(error))
        if known is not None and known.packaged is not None and revision is None:
            try:
                with scratch_folder(target) as scratch:
                    filled = scratch / "model"
                    filled.mkdir()
                    fetch_packaged(known.packaged, filled, scratch, on_progress)
                    packaged = known.packaged
                    _write_source(
                        filled,
                        {"package": f"{packaged.package}=={packaged.version}", "package_sha256": packaged.sha256},
                    )
                    publish_folder(filled, target)
                return target
            except ModelLoadError as error:
                tried.append(str(error))
    raise ModelLoadError(
        f"model {reference!r} could not be fetched. Tried: "
        + "; ".join(f"({number}) {what}" for number, what in enumerate(tried, start=1))
        + ". Connect to one of these, or give the path of a local folder that transformers saved"
    )


def kept_folder(reference: str, *, cache: Path, revision: str | None = None) -> Path | None:
    """The folder that `prepare_model` would find without fetching anything, or None."""
    local = _local_folder(reference, revision)
    if local is not None:
        return local
    folder = cache / "models" / _slug(reference, revision)
    if folder.is_dir():
        return folder
    return None if revision is None else _fetched_at(hub_id_of(reference), revision, cache)


def fetched_commit(reference: str, revision: str, cache: Path) -> str | None:
    """The commit that a branch or tag of `reference` was when it was fetched into `cache`; None where it was not."""
    return _source_of(cache / "models" / _slug(reference, revision)).get("revision")


def _local_folder(reference: str, revision: str | None) -> Path | None:
    local = Path(reference).expanduser()
    return local if reference not in KNOWN_MODELS and revision is None and local.is_dir() else None


def _fetched_at(hub_id: str, commit: str, cache: Path) -> Path | None:
    """The folder of `hub_id` at `commit` that was fetched as another revision: a branch, a tag or none."""
    wanted = {"hub_id": hub_id, "revision": commit}
    return next((one for one in sorted((cache / "models").glob("[!.]*")) if _source_of(one) == wanted), None)


def _read(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

    if not any(folder.glob("*.safetensors")):
        raise ModelLoadError(
            f"folder {str(folder)!r} has no .safetensors file; only that format is read, since others can run code. "
            "Save the model with save_pretrained(..., safe_serialization=True)"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and more for a broken folder
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
        raise ModelLoadError(
            f"folder {str(folder)!r} could not be loaded ({type(error).__name__}: {first}); "
            "it must hold one complete causal language model. Remove a damaged copy to have it fetched again"
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelLoadError(
            f"folder {str(folder)!r} has only a slow tokenizer ({type(tokenizer).__name__}), which gives no offsets; "
            "save it with a tokenizer.json"
        )
    return model, tokenizer


def _slug(reference: str, revision: str | None) -> str:
    local = Path(reference).expanduser()
    name = local.resolve().name if reference not in KNOWN_MODELS and local.is_dir() else reference.replace("/", "--")
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
    return clean if revision is None else f"{clean}-at-{re.sub(r'[^A-Za-z0-9._-]+', '-', revision)}"


def _write_source(folder: Path, source: dict[str, str]) -> None:
    (folder / _SOURCE_FILE).write_text(json.dumps(source, indent=1))


def _source_of(folder: Path) -> dict[str, str]:
    try:
        source = json.loads((folder / _SOURCE_FILE).read_text())
    except (OSError, ValueError):
        return {"folder": str(folder.resolve())}
    return {str(key): str(value) for key, value in source.items()}


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers' advice and progress bars out of our output while the block runs; errors still show."""
    from transformers.utils import logging as chatter

    level, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity(logging.ERROR)
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        chatter.set_verbosity(level)
        if bars:
            chatter.enable_progress_bar()
