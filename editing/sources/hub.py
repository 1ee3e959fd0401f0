"""Asks the Hugging Face hub about models, and downloads them into a folder of our own: safetensors only, one commit,
resumable."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editing.errors import HubAwayError, ModelLoadError, UnknownRevisionError
from editing.progress import ProgressCallback
from editing.sources.default_model import growth

_WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
_UNWANTED = ("*/*", "*.bin.index.json")
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit: the files at its top by name, with their sizes in bytes."""

    hub_id: str
    commit: str
    files: Mapping[str, int]


def list_files(hub_id: str, *, revision: str | None, token: str | None) -> Listing:
    """The files of `hub_id` at `revision` (default: its main branch), a branch, tag or commit.

    Raises ModelLoadError, of it UnknownRevisionError and HubAwayError, within seconds where the hub does not answer.
    """
    from huggingface_hub import HfApi

    try:
        repository: Any = HfApi(token=token).model_info(
            hub_id, revision=revision, timeout=_ANSWER_SECONDS, files_metadata=True
        )
    except Exception as error:  # the client's own, its HTTP library's, or the operating system's
        raise _refusal(described(hub_id, revision), error) from error
    files = [file for file in repository.siblings or () if "/" not in file.rfilename]
    return Listing(hub_id, str(repository.sha), {file.rfilename: file.size or 0 for file in files})


def read_file(listing: Listing, name: str, *, token: str | None) -> bytes:
    """One small file of `listing`, kept in memory alone. Raises ModelLoadError, also where access to it is gated."""
    from huggingface_hub import get_session, hf_hub_url

    # Documented, and not marked as exported.
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    try:
        answer: Any = get_session().get(
            hf_hub_url(listing.hub_id, name, revision=listing.commit),
            headers=build_hf_headers(token=token),
            timeout=_ANSWER_SECONDS,
            follow_redirects=True,
        )
        hf_raise_for_status(answer)
        content: bytes = answer.content
    except Exception as error:
        raise _refusal(f"{described(listing.hub_id, listing.commit)}, {name}", error) from error
    return content


def fetch_from_hub(
    hub_id: str, folder: Path, *, revision: str | None, token: str | None, on_progress: ProgressCallback
) -> dict[str, str]:
    """Download `hub_id` at `revision` (default: its main branch) into `folder`, and say which commit that was.

    The files of an interrupted download in `folder` are used again if they belong to the same commit.
    Raises ModelLoadError, within seconds where the hub does not answer.
    """
    from huggingface_hub import snapshot_download

    listing = list_files(hub_id, revision=revision, token=token)
    if not any(name.endswith(".safetensors") for name in listing.files):
        raise ModelLoadError(
            f"{described(hub_id, revision)}: has no .safetensors file; only that format is read, "
            "since others can run code. Convert it and give the local folder"
        )
    total = sum(size for name, size in listing.files.items() if name.endswith((".safetensors", ".json")))
    mark = folder / ".commit"
    if folder.exists() and (not mark.exists() or mark.read_text() != listing.commit):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(listing.commit)
    try:
        with _no_bars(), growth(folder, total, "download model", on_progress):
            snapshot_download(
                hub_id,
                revision=listing.commit,
                local_dir=folder,
                allow_patterns=list(_WANTED),
                ignore_patterns=list(_UNWANTED),
                token=token,
            )
    except Exception as error:
        raise ModelLoadError(
            f"{described(hub_id, revision)}: the download stopped ({_reason(error)}); starting again resumes it"
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    mark.unlink()
    return {"hub_id": hub_id, "revision": listing.commit}


def described(hub_id: str, revision: str | None) -> str:
    """How messages name a model of the hub."""
    return f"Hugging Face hub, {hub_id}" if revision is None else f"Hugging Face hub, {hub_id} at {revision}"


@contextmanager
def _no_bars() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            enable_progress_bars()


def _refusal(what: str, error: Exception) -> ModelLoadError:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RevisionNotFoundError

    message = f"{what}: {_reason(error)}"
    if isinstance(error, RevisionNotFoundError):
        return UnknownRevisionError(message)
    if isinstance(error, HFValidationError):
        return ModelLoadError(message)
    if isinstance(error, HfHubHTTPError) and error.response.status_code < 500 and error.response.status_code != 429:
        return ModelLoadError(message)
    return HubAwayError(message)


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
