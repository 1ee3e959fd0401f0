"""The records of a file, each with its place: JSONL, a JSON list, the body of a POST /v1/edits, CSV or TSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from editing.datasets.errors import DataSetError, RecordError, WrongRecord
from editing.datasets.plain import fields_of_row

MOST_BYTES: Final = 2 * 1024**3
TABLES: Final = {".csv": ",", ".tsv": "\t"}


def records_of(path: Path, source: str) -> Iterator[tuple[str, Any]]:
    """Each record with its place, or a WrongRecord in its stead. Raises DataSetError where the file cannot be read."""
    text = _text_of(path, source)
    if path.suffix.lower() in TABLES:
        yield from _rows(text, source, TABLES[path.suffix.lower()])
        return
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        yield from _lines(text)
        return
    if isinstance(whole, dict) and isinstance(whole.get("facts"), list):
        whole = whole["facts"]
    if not isinstance(whole, list):
        yield "line 1", whole
        return
    for number, record in enumerate(whole):
        yield f"fact {number}", record


def _text_of(path: Path, source: str) -> str:
    if path.suffix.lower() == ".parquet":
        raise DataSetError(source, "is a Parquet file, which is not read; write it as JSONL, a JSON record to a line")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataSetError(source, f"has {size} bytes, at most {MOST_BYTES} are read; split it")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataSetError(source, "no such file; name one with a JSON fact to a line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataSetError(source, f"cannot be read as UTF-8 text: {error}") from None


def _lines(text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"line {number}"
            try:
                yield place, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield place, WrongRecord(place, "", f"not JSON ({error})")


def _rows(text: str, source: str, delimiter: str) -> Iterator[tuple[str, Any]]:
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in table:
            place = f"line {table.line_num}"
            if None in row or None in row.values():
                message = (
                    f"has not as many cells as the header ({len(table.fieldnames or ())}); quote cells with commas"
                )
                yield place, WrongRecord(place, "", message)
                continue
            try:
                yield place, fields_of_row(row)
            except RecordError as error:
                yield place, WrongRecord(place, error.field, error.message)
    except csv.Error as error:
        raise DataSetError(
            source, f"line {table.line_num + 1}: not a table of cells ({error}); quote what holds quotes"
        ) from None
