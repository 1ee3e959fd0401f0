"""The containers' HEALTHCHECK: exits 0 where the URL answers with 2xx, else 1 with the reason on standard error.

    python health.py http://127.0.0.1:8000/livez

It is copied alone into the images of API and worker: so it imports the standard library only.
"""

from __future__ import annotations

import sys
from typing import Final
from urllib.request import ProxyHandler, build_opener

PATIENCE_SECONDS: Final = 4.0
"""For a silent server; less than the 5 s of the health check itself, so that the reason is still written."""


def main(url: str) -> int:
    """The exit code."""
    opener = build_opener(ProxyHandler({}))  # no proxy of the environment stands between a process and itself
    try:
        with opener.open(url, timeout=PATIENCE_SECONDS) as response:
            response.read(1)
    except OSError as error:  # no connection, a timeout, or a status of 400 and above (HTTPError)
        print(f"{url}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("give one URL: python health.py http://127.0.0.1:8000/livez")
    raise SystemExit(main(sys.argv[1]))
