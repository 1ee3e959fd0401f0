"""Write the dashboards of docker/grafana/dashboards. Each is a module beside this one; panels.py has their parts.

    python docker/grafana/build_dashboards.py           writes what has changed
    python docker/grafana/build_dashboards.py --check   exits 1 and names what is out of date

The folder is provisioned read-only, so that what is reviewed is what is seen: try a change in Grafana, make it here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import edit_batches
import overview
import serving
import workers_and_store

FOLDER: Final = Path(__file__).parent / "dashboards"
DASHBOARDS: Final = {
    "overview": overview.build,
    "editing": edit_batches.build,
    "serving": serving.build,
    "workers-and-store": workers_and_store.build,
}


def documents() -> dict[Path, str]:
    """Path → what the file should hold."""
    return {
        FOLDER / f"{name}.json": json.dumps(build(), indent=2, ensure_ascii=False) + "\n"
        for name, build in DASHBOARDS.items()
    }


def main(arguments: list[str]) -> int:
    wanted = documents()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    stale += sorted(set(FOLDER.glob("*.json")) - set(wanted))
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.name} is out of date; run: python docker/grafana/build_dashboards.py", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in wanted:
            path.write_text(wanted[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
