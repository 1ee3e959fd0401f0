"""What a container's health check runs: exits 0 where the URL answers well within four seconds, else 1 saying why."""

from __future__ import annotations

import sys
from typing import Final
from urllib.request import ProxyHandler, build_opener

PATIENCE_SECONDS: Final = 4.0


def main(url: str) -> int:
    opener = build_opener(ProxyHandler({}))  # no proxy of the environment stands between a process and itself
    try:
        with opener.open(url, timeout=PATIENCE_SECONDS) as answer:
            answer.read(1)
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
