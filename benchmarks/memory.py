"""The memory plan against the memory that a worker takes: `emmetd serve` with small budgets, which are then filled.

A batch of as many facts as the plan counts is edited while as many texts as the key-value cache takes are decoded,
again and again until the batch is done. Measured is the worker's resident memory at its highest, as the kernel counts
it, which needs Linux.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.small_model import facts_of, names
from configuration.settings import Settings, load_settings
from editing.model.loading import prepare_model
from editing.progress import ProgressCallback, silent
from editing.sources.default_model import DEFAULT_MODEL
from workers.generation.scheduler import MOST_SEQUENCES
from workers.memory_plan.configured import PlannedWorker, planned_worker
from workers.memory_plan.parts import HOST
from workers.process.capacity import device_of, dtype_of

NAME: Final = "measured"
KV_CACHE_BYTES: Final = 500_000_000
MATRIX_CACHE_BYTES: Final = 64 * 1024**2
BATCH_VERSIONS: Final = 4
FACTS: Final = 8
NEW_TOKENS: Final = 32
_KEPT: Final = ("models", "statistics", "fingerprints")
"""What the server uses of the data folder; all else goes to a folder of its own."""
_PATIENCE_SECONDS: Final = 3600.0
_FINAL: Final = ("succeeded", "rejected", "failed", "cancelled")


def run(
    *,
    model: str = DEFAULT_MODEL,
    data: Path,
    token: str | None = None,
    facts: int = FACTS,
    kv_cache_bytes: int = KV_CACHE_BYTES,
    on_progress: ProgressCallback = silent,
) -> dict[str, Any]:
    """Plan and peak of a worker of `model` that edits a batch of `facts` facts. Bytes throughout."""
    # Planned first: what this process holds by then is what the plan counts for the libraries.
    with tempfile.TemporaryDirectory(prefix="emmetd-memory-") as folder:
        own = _own_data(Path(folder), data)
        prepare_model(model, cache=own, token=token, on_progress=on_progress)
        settings = load_settings(
            model=model,
            data=own,
            kv_cache_bytes=kv_cache_bytes,
            matrix_cache_bytes=MATRIX_CACHE_BYTES,
            batch_versions=BATCH_VERSIONS,
        )
        device = device_of(settings.device)
        planned = planned_worker(settings, device, dtype_of(settings.dtype, device), facts=facts)
        with _server(settings, Path(folder) / "serve.log") as (http, worker):
            on_progress("edit", 0, 2)
            started = _peak(worker)
            done = _load(http, planned)
            on_progress("edit", 1, 2)
            measured = _peak(worker)
        on_progress("edit", 2, 2)
    plan = planned.plan
    return {
        "model": model,
        **done,
        "kv_cache_bytes": kv_cache_bytes,
        "matrix_cache_bytes": MATRIX_CACHE_BYTES,
        "batch_versions": BATCH_VERSIONS,
        "plan": planned.as_dict(),
        "planned_start_bytes": max(plan.at(phase, HOST) for phase in _start_phases(planned)),
        "measured_start_bytes": started,
        "planned_peak_bytes": plan.peak(HOST),
        "measured_peak_bytes": measured,
        "ratio": plan.peak(HOST) / measured,
    }


def show(result: dict[str, Any]) -> None:
    print(
        f"{result['model']}, {result['facts']} facts ({result['state']}), {result['rounds']} × {MOST_SEQUENCES} texts"
    )
    for name in ("start", "peak"):
        planned, measured = result[f"planned_{name}_bytes"], result[f"measured_{name}_bytes"]
        print(
            f"{name:6} planned {planned / 1e6:8.0f} MB   measured {measured / 1e6:8.0f} MB   {planned / measured:.2f}"
        )


def _start_phases(planned: PlannedWorker) -> tuple[Any, ...]:
    return ("load",) if planned.request.statistics_ready else ("load", "sample", "statistics", "held-out text")


def _own_data(folder: Path, data: Path) -> Path:
    """A data folder with the models and statistics of `data`, and a database and blobs of its own."""
    own = folder / "data"
    own.mkdir()
    for name in _KEPT:
        (data / name).mkdir(parents=True, exist_ok=True)
        (own / name).symlink_to(data / name, target_is_directory=True)
    return own


@contextmanager
def _server(settings: Settings, log: Path) -> Iterator[tuple[httpx.Client, int]]:
    """A server of `settings` that is ready, and the process id of its worker."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EMMETD_")}
    environment |= {
        "EMMETD_KV_CACHE_BYTES": str(int(settings.kv_cache_bytes or 0)),
        "EMMETD_MATRIX_CACHE_BYTES": str(int(settings.matrix_cache_bytes or 0)),
        "EMMETD_BATCH_VERSIONS": str(settings.batch_versions),
    }
    command = [sys.executable, "-P", "-m", "cli.main", "serve", "--port", "0", "--data", str(settings.data)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--model", settings.model, "--model-name", NAME], stdout=output, stderr=output, env=environment
        )
        try:
            url = _when_ready(process, log)
            with httpx.Client(base_url=url, timeout=_PATIENCE_SECONDS, trust_env=False) as http:
                yield http, _worker_of(http)
        finally:
            process.terminate()
            process.wait()


def _when_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"ready at (\S+)", log.read_text(errors="replace"))
        if found:
            return found[1]
        time.sleep(0.5)
    raise RuntimeError(f"the server did not become ready; it said:\n{log.read_text(errors='replace')[-2000:]}")


def _worker_of(http: httpx.Client) -> int:
    (worker,) = http.get("/v1/workers").raise_for_status().json()["data"]
    return int(str(worker["id"]).rsplit("-", 2)[1])


def _peak(process: int) -> int:
    """Bytes that the process has had in memory at its highest."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def _load(http: httpx.Client, planned: PlannedWorker) -> dict[str, Any]:
    """Edit the planned number of facts, and decode all the while."""
    facts = planned.request.facts
    body: Mapping[str, Any] = {
        "model": NAME,
        "facts": facts_of(names()[:facts]),
        "thresholds": {"EM": 0.0, "drift": 1e9},
    }
    slots = int(planned.request.kv_cache_bytes or 0) // planned.request.slot_bytes
    length = min(planned.request.decoder.context_length, slots // MOST_SEQUENCES)
    prompt = [1] * max(1, length - NEW_TOKENS)
    over = threading.Event()
    rounds = list[bool]()

    def decode() -> None:
        while not over.is_set():
            asked = {"model": f"{NAME}@v0", "prompt": prompt, "n": MOST_SEQUENCES, "max_tokens": NEW_TOKENS}
            # On a busy machine an answer may take too long, which the server then says.
            rounds.append(http.post("/v1/completions", json=asked).is_success)

    accepted = http.post("/v1/edits", json=body).raise_for_status().json()["id"]
    decoding = threading.Thread(target=decode)
    decoding.start()
    try:
        state = ""
        while state not in _FINAL:
            time.sleep(1)
            state = str(http.get(f"/v1/edits/{accepted}").raise_for_status().json()["state"])
    finally:
        over.set()
        decoding.join()
    return {"facts": facts, "state": state, "rounds": sum(rounds)}
