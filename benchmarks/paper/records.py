"""What a measurement keeps in its folder while it runs: what it is of, and each row as it is made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from api_schemas.facts import Fact
from editing.atomic_files import whole_file

Row = dict[str, Any]
RowKey = tuple[str, int, int, int]


class ReproductionError(Exception):
    """What was asked for cannot be measured; the message names field, value and remedy."""


def row_key(row: Row) -> RowKey:
    """Method, batch size, draw and the batch's number in it."""
    return row["method"], row["size"], row["draw"], row["batch"]


def read_rows(path: Path) -> list[Row]:
    """The rows kept in `path`. A last line that a kill cut short is removed from the file; its batch is edited anew."""
    if not path.exists():
        return []
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        with path.open("r+b") as file:
            file.truncate(end)
    rows: list[Row] = []
    for number, line in enumerate(whole[:end].splitlines(), 1):
        try:
            rows.append(json.loads(line))
            row_key(rows[-1])
        except (ValueError, KeyError, TypeError):
            raise ReproductionError(
                f"{str(path)!r}, line {number}: not a row of a measurement; remove the line, and it is measured anew"
            ) from None
    return rows


def keep_row(path: Path, row: Row) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row, sort_keys=True) + "\n")


def check_plan(folder: Path, plan: Row) -> None:
    """Note in `folder` what it is of, or see that it is of the same. Raises ReproductionError where it is not."""
    file = folder / "plan.json"
    if not file.exists():
        with whole_file(file) as part:
            part.write_text(json.dumps(plan, indent=1, sort_keys=True) + "\n")
        return
    try:
        before = json.loads(file.read_text())
    except ValueError:
        before = None
    differing = [name for name, value in plan.items() if not isinstance(before, dict) or before.get(name) != value]
    if differing:
        raise ReproductionError(
            f"--output {str(folder)!r} holds another measurement ({', '.join(differing)} differ); give another folder, "
            "or the same options to go on with that one"
        )


def fact_id(fact: Fact) -> str:
    """Tells facts apart in results without their text."""
    return hashlib.sha256(fact.model_dump_json().encode()).hexdigest()[:16]


def digest(wanted: Any) -> str:
    """Of what JSON can say."""
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
