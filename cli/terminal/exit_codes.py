"""What a command of `emmetd` ends with, for scripts."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """Those beside click's own: 0 is done, 2 a command line that is not understood."""

    REFUSED = 1
    UNAVAILABLE = 3
    NOT_PERMITTED = 4
    REJECTED = 5
    FAILED = 6
    WRONG_FILE = 7
    NOT_YET = 8
    CONFIGURATION = 78
    INTERRUPTED = 130


MEANINGS: Final = {
    0: "done",
    ExitCode.REFUSED: "refused, or something else went wrong",
    2: "the command line is not understood",
    ExitCode.UNAVAILABLE: "the server cannot be reached, is not ready, or is too busy",
    ExitCode.NOT_PERMITTED: "no API key, or one that is not for this",
    ExitCode.REJECTED: "an edit was measured and is outside its thresholds or budget",
    ExitCode.FAILED: "an edit, evaluation or export failed, or was cancelled",
    ExitCode.WRONG_FILE: "a file of facts has a wrong shape",
    ExitCode.NOT_YET: "--timeout is over; the work goes on at the server",
    ExitCode.CONFIGURATION: "a setting is wrong",
    ExitCode.INTERRUPTED: "Ctrl-C",
}

EPILOG: Final = "Exit codes: " + "; ".join(f"{int(code)} {meaning}" for code, meaning in MEANINGS.items()) + "."
