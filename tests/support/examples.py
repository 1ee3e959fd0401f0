"""Examples of a page of documentation, and a shell that runs them as a reader would: one after the other.

A block of `sh` or `python` is run unless a comment before it says otherwise: `<!-- not run: why -->`, or
`<!-- needs: program -->` where it is run only with that program. A `text` block after one is what it prints, in which …
stands for anything.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_BLOCK: Final = re.compile(
    r"(?:<!-- (?P<remark>not run|needs): (?P<why>[^>]*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.S | re.M
)
PATIENCE_SECONDS: Final = 900


@dataclass(frozen=True)
class Example:
    """`line` is where it stands. `printed`: what the page shows of its output, None where it shows nothing."""

    line: int
    language: str
    text: str
    not_run: str | None = None
    needs: str | None = None
    printed: str | None = None


def examples(page: str) -> list[Example]:
    """Those of a page in Markdown, in their order."""
    found: list[Example] = []
    for match in _BLOCK.finditer(page):
        language, text = match["language"], match["text"]
        line = page.count("\n", 0, match.start("language")) + 1
        if language in ("sh", "python"):
            remark = {match["remark"]: match["why"]} if match["remark"] else {}
            found.append(Example(line, language, text, remark.get("not run"), remark.get("needs")))
        elif language == "text" and found:
            last = found[-1]
            found[-1] = Example(last.line, last.language, last.text, last.not_run, last.needs, text)
    return found


def matches(printed: str, shown: str) -> bool:
    """Whether `printed` is what a page shows, line by line but for white space at the ends."""
    wanted = [re.escape(line.strip()).replace("…", ".*") for line in shown.strip().splitlines()]
    told = [line.strip() for line in printed.strip().splitlines()]
    return len(wanted) == len(told) and all(map(re.fullmatch, wanted, told))


class ExampleFailedError(AssertionError):
    """What was run, and everything that it wrote."""


class Reader:
    """One bash in `folder`, whose variables and folder last from one example to the next. `changed`: what is written
    otherwise in the page, such as the address of the server."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], changed: Callable[[str], str] = lambda text: text
    ) -> None:
        self._changed = changed
        self._errors = (folder / ".errors").open("w+")
        self._process = subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            stream.close()

    def run(self, example: Example) -> str:
        """What it printed. Raises ExampleFailedError where a command of it fails."""
        assert self._process.stdin is not None
        text = self._changed(example.text)
        if example.language == "python":
            text = f"'{sys.executable}' - <<'END OF PYTHON'\n{text}END OF PYTHON\n"
        self._process.stdin.write(f"{text}\nprintf '\\n%s\\n' '{_END}'\n")
        self._process.stdin.flush()
        lines = list(self._until_the_end())
        if lines[-1:] != [_END]:
            self._errors.seek(0)
            raise ExampleFailedError(f"line {example.line}:\n{text}\n{''.join(lines)}\n{self._errors.read()[-3000:]}")
        return "\n".join(lines[:-1])

    def _until_the_end(self) -> Iterator[str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.rstrip("\n")
            if line.rstrip("\n") == _END:
                return


_END: Final = "=== end of the example ==="
