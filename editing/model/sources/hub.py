"""Downloads models from the Hugging Face hub into a folder of our own: safetensors only, one commit, resumable."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from editing.errors import ModelLoadError
from editing.model.sources.default_model import growth
from editing.progress import ProgressCallback

_WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
_UNWANTED = ("*/*", "*.bin.index.json")
_ANSWER_SECONDS = 5.0


def fetch_from_hub(
    hub_id: str, folder: Path, *, revision: str | None, token: str | None, on_progress: ProgressCallback
) -> dict[str, str]:
    """Download `hub_id` at `revision` (default: its main branch) into `folder`, and say which commit that was.

    The files of an interrupted download in `folder` are used again if they belong to the same commit.
    Raises ModelLoadError, within seconds where the hub does not answer.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    described = hub_id if revision is None else f"{hub_id} at {revision}"
    try:
        repository: Any = HfApi(token=token).model_info(
            hub_id, revision=revision, timeout=_ANSWER_SECONDS, files_metadata=True
        )
    except Exception as error:  # the client's own, its HTTP library's, or the operating system's
        raise ModelLoadError(f"Hugging Face hub, {described}: {_reason(error)}") from error
    files = [file for file in repository.siblings or () if "/" not in file.rfilename]
    if not any(file.rfilename.endswith(".safetensors") for file in files):
        raise ModelLoadError(
            f"Hugging Face hub, {described}: has no .safetensors file; only that format is read, "
            "since others can run code. Convert it and give the local folder"
        )
    total = sum(file.size or 0 for file in files if file.rfilename.endswith((".safetensors", ".json")))
    commit = str(repository.sha)
    mark = folder / ".commit"
    if folder.exists() and (not mark.exists() or mark.read_text() != commit):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(commit)
    bars_were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with growth(folder, total, "download model", on_progress):
            snapshot_download(
                hub_id,
                revision=commit,
                local_dir=folder,
                allow_patterns=list(_WANTED),
                ignore_patterns=list(_UNWANTED),
                token=token,
            )
    except Exception as error:
        raise ModelLoadError(
            f"Hugging Face hub, {described}: the download stopped ({_reason(error)}); starting again resumes it"
        ) from error
    finally:
        if not bars_were_off:
            enable_progress_bars()
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    mark.unlink()
    return {"hub_id": hub_id, "revision": commit}


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return "access is gated; accept its terms on the hub and give a token (HF_TOKEN)"
    if isinstance(error, RevisionNotFoundError):
        return "there is no such revision"
    if isinstance(error, RepositoryNotFoundError):
        return "there is no such model, or it is private and needs a token (HF_TOKEN)"
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {first}"
