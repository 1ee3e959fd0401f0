"""Make the blocking half of the client of the asynchronous one: the two can then not drift apart.

    python client/unasync.py           writes client/src/emmetd_client/_sync from _async
    python client/unasync.py --check   exits 1 and says what differs where it is out of date

It needs ruff, which puts lines in order that became shorter.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parent / "src" / "emmetd_client"
SOURCE, TARGET = PACKAGE / "_async", PACKAGE / "_sync"
HEADER: Final = "# Made by client/unasync.py from {name} of _async: change that one, and run it.\n"

REPLACEMENTS: Final = (
    (r"async (def|for|with) ", r"\1 "),
    (r"\bawait ", ""),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\basync_pause\b", "pause_for"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\bhttpx\.AsyncBaseTransport\b", "httpx.BaseTransport"),
    (r"\b_async\b", "_sync"),
    (r"__a(enter|exit|iter|next)__", r"__\1__"),
    (r"\ba(close|read|iter_bytes)\(", r"\1("),
    (r"The client for asyncio\. `client/unasync\.py` makes its blocking twin `_sync` of it\.", "The blocking client."),
    (r"`async with`", "`with`"),
    (r" One that has to be awaited cannot\.", ""),
)


def made(path: Path) -> str:
    text = path.read_text()
    for pattern, replacement in REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    return _in_order(HEADER.format(name=path.name) + text, TARGET / path.name)


def _in_order(text: str, path: Path) -> str:
    for command in (["check", "--select", "I", "--fix-only", "--quiet"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "--stdin-filename", str(path), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text


def main(arguments: list[str]) -> int:
    wanted = {TARGET / path.name: made(path) for path in sorted(SOURCE.glob("*.py"))}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    left_over = [path for path in TARGET.glob("*.py") if path not in wanted]
    if arguments == ["--check"]:
        for path in [*stale, *left_over]:
            print(f"{path.name} of _sync is out of date; run: python client/unasync.py", file=sys.stderr)
        return 1 if stale or left_over else 0
    TARGET.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(wanted[path])
    for path in left_over:
        path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
