"""The page *Correct a fact in five minutes*, followed word by word against a fresh `make run`.

    python -m tests.acceptance.five_minutes --output five_minutes.json

Clones the checkout's last commit into a new folder, and there runs the page's commands in two terminals as it says:
`make run` in one, everything else in the other. What the page shows of the answers must be what is printed. Port 8000
must be free.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.support.examples import Example, ExampleFailedError, Reader, examples, matches

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = Path("docs") / "five-minutes.md"
START: Final = "make run\n"
MOST_SECONDS: Final = 3600
"""For what installs, fetches and measures before the first answer."""
STOP_SECONDS: Final = 60


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the JSON file of the result")
    parser.add_argument(
        "--prepared", type=Path, help="a data folder with the model and C0, copied instead of made anew"
    )
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="five-minutes-") as folder:
        result = follow(Path(folder), given.prepared)
    given.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 1 if result["missed"] else 0


def follow(folder: Path, prepared: Path | None) -> dict[str, Any]:
    """Both terminals. `missed`: what the page shows and was not printed, by line."""
    checkout = folder / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)
    found = examples((checkout / PAGE).read_text())
    if START not in [example.text for example in found]:
        raise RuntimeError(f"{PAGE} has no block with {START.strip()!r}")
    environment = _environment(folder)
    if prepared is not None:
        shutil.copytree(prepared, folder / "data" / "emmetd")
    begun = time.monotonic()
    with (folder / "server.log").open("w+") as log:
        server = subprocess.Popen(
            ["bash", "-c", START], cwd=checkout, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_until_ready(server, folder / "server.log")
            ready = time.monotonic()
            missed = _read(found, checkout, environment)
        finally:
            os.killpg(server.pid, signal.SIGINT)
            server.wait(timeout=STOP_SECONDS)
    return {
        "page": str(PAGE),
        "examples": sum(1 for example in found if not example.not_run),
        "compared": sum(1 for example in found if example.printed),
        "missed": missed,
        "seconds_until_ready": round(ready - begun, 1),
        "seconds_of_the_page": round(time.monotonic() - ready, 1),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def _environment(folder: Path) -> dict[str, str]:
    """That of a new user: none of this process's settings, environments or modules."""
    ours = ("EMMETD_", "PYTHONPATH", "VIRTUAL_ENV", "MAKE", "MFLAGS")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**bare, "XDG_DATA_HOME": str(folder / "data"), "NO_COLOR": "1"}


def _wait_until_ready(server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while "emmetd is ready at http://127.0.0.1:8000 " not in log.read_text():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"make run did not become ready:\n{log.read_text()[-3000:]}")
        time.sleep(0.5)


def _read(found: list[Example], checkout: Path, environment: dict[str, str]) -> list[dict[str, Any]]:
    missed: list[dict[str, Any]] = []
    with Reader(checkout, environment) as reader:
        for example in found:
            if example.not_run or example.text == START:
                continue
            try:
                printed = reader.run(example)
            except ExampleFailedError as error:
                return [*missed, {"line": example.line, "failed": str(error)}]
            if example.printed is not None and not matches(printed, example.printed):
                missed.append({"line": example.line, "shown": example.printed, "printed": printed})
    return missed


if __name__ == "__main__":
    sys.exit(main())
