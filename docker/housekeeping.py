"""What an installation does by the clock: a backup, then what is kept no longer goes, and the oldest backups with it.

    python housekeeping.py             once, now; exits 1 where a step failed
    python housekeeping.py --daily     each day at HOUSEKEEPING_AT, until it is stopped
    python housekeeping.py --healthy   exits 1 where the last round failed or is too long ago: a health check

HOUSEKEEPING_AT is a time in UTC (by default 03:17), BACKUPS a folder (/srv/emmetd/backups), BACKUPS_KEPT how many stay
in it (14). Retention is applied where a setting EMMETD_RETENTION_…_DAYS is there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

BACKUPS: Final = Path(os.environ.get("BACKUPS") or "/srv/emmetd/backups")
STATE: Final = Path(os.environ.get("HOUSEKEEPING_STATE") or "/tmp/housekeeping")
LONGEST_SECONDS: Final = 26 * 3600
DAY_SECONDS: Final = 24 * 3600
BACKUP: Final = re.compile(r"emmetd-\d{8}T\d{6}Z")
HALF_MADE: Final = re.compile(r"\.emmetd-\d{8}T\d{6}Z\..*\.part")
RETENTION: Final = re.compile(r"EMMETD_RETENTION_\w+_DAYS")


def main(arguments: list[str]) -> int:
    if arguments == ["--healthy"]:
        return 0 if is_healthy(time.time()) else 1
    if arguments == ["--daily"]:
        every_day(seconds_of_day(os.environ.get("HOUSEKEEPING_AT") or "03:17"))
    if arguments:
        raise SystemExit(__doc__)
    return 0 if do_round(time.time()) else 1


def do_round(moment: float) -> bool:
    """All steps, each only where those before it went well: nothing is deleted while no copy could be made."""
    keep = kept()
    done = all(run(command) for command in steps(moment))
    if done:
        for folder in superfluous(keep):
            print(f"deleting {folder}", flush=True)
            shutil.rmtree(folder)
    STATE.write_text("done\n" if done else "failed\n")
    return done


def steps(moment: float) -> Iterator[list[str]]:
    name = time.strftime("emmetd-%Y%m%dT%H%M%SZ", time.gmtime(moment))
    yield ["emmetd", "backup", str(BACKUPS / name)]
    if any(RETENTION.fullmatch(variable) and value for variable, value in os.environ.items()):
        yield ["emmetd", "retention", "apply"]
        yield ["emmetd", "versions", "collect"]


def run(command: list[str]) -> bool:
    print(f"$ {' '.join(command)}", flush=True)
    code = subprocess.run(command, check=False).returncode
    if code != 0:
        print(f"{command[0]} {command[1]} failed with exit code {code}; what follows is not done", file=sys.stderr)
    return code == 0


def superfluous(keep: int) -> list[Path]:
    """All but the newest `keep` backups, and what earlier rounds that were cut off left half made."""
    whole = sorted(path for path in BACKUPS.iterdir() if BACKUP.fullmatch(path.name))
    return whole[: max(len(whole) - keep, 0)] + [path for path in BACKUPS.iterdir() if HALF_MADE.fullmatch(path.name)]


def kept() -> int:
    text = os.environ.get("BACKUPS_KEPT") or "14"
    if not text.isdigit() or int(text) < 1:
        raise SystemExit(f"BACKUPS_KEPT = {text!r}: it is how many backups stay, at least 1")
    return int(text)


def seconds_of_day(text: str) -> int:
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", text)
    if found is None:
        raise SystemExit(f"HOUSEKEEPING_AT = {text!r}: it is a time of day in UTC, such as 03:17")
    return int(found[1]) * 3600 + int(found[2]) * 60


def next_round(after: float, seconds: int) -> float:
    """The first moment later than `after` that is `seconds` into a day, in UTC."""
    return after - (after - seconds) % DAY_SECONDS + DAY_SECONDS


def every_day(seconds: int) -> None:
    kept()  # a slip shall be told now, not at night
    STATE.write_text("done\n")
    due = next_round(time.time(), seconds)
    print(f"the first round is at {time.strftime('%Y-%m-%d %H:%M', time.gmtime(due))} UTC", flush=True)
    while True:
        # In short naps: a clock that is set, or a machine that slept, shall not put the round off.
        while (moment := time.time()) < due:
            time.sleep(min(30.0, due - moment))
        do_round(moment)
        due = next_round(time.time(), seconds)


def is_healthy(moment: float) -> bool:
    try:
        return STATE.read_text() == "done\n" and moment - STATE.stat().st_mtime < LONGEST_SECONDS
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
