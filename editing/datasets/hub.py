"""Files of data sets on the Hugging Face hub: hf://datasets/OWNER/NAME[@REVISION]/PATH/IN/THE/REPOSITORY."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from editing.datasets.errors import DataSetError

PREFIX: Final = "hf://"
_REFERENCE: Final = re.compile(
    r"hf://datasets/(?P<repository>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w./-]+?))?/(?P<file>[^/@].*)", re.ASCII
)


def parse(reference: str) -> tuple[str, str | None, str]:
    """(repository, revision, file) of a reference. Raises DataSetError."""
    found = _REFERENCE.fullmatch(reference)
    if found is None or ".." in found["file"].split("/"):
        raise DataSetError(reference, "is not hf://datasets/OWNER/NAME/FILE or hf://datasets/OWNER/NAME@REVISION/FILE")
    return found["repository"], found["revision"], found["file"]


def fetch(reference: str, token: str | None = None) -> Path:
    """The file on this machine, fetched into the hub's own cache first where need be. Raises DataSetError."""
    repository, revision, file = parse(reference)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, file, repo_type="dataset", revision=revision, token=token or None))
    except Exception as error:  # the client raises errors of its own, of httpx and OSError
        told = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
        raise DataSetError(
            reference,
            f"cannot be fetched ({type(error).__name__}: {told}); look at the name, connect to the hub, or give a file",
        ) from None
