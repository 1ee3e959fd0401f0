"""Facts for benchmarks, from a file in any shape that the service takes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from api_schemas.facts import Fact, subject_key
from editing.errors import FactError
from editing.model.loading import LoadedModel
from editing.values.facts import SubjectGroup, group_by_subject, tokenize_facts

CONTEXT_RESERVE = 16
"""Tokens of the model's context that are kept for a context text before each prompt."""


class FactsFileError(Exception):
    """A file of facts is missing or cannot be read as facts; the message names the file, the place and the remedy."""


def read_facts(path: Path) -> list[Fact]:
    """The facts of `path`: one to a line (JSONL), a JSON list, or the body of a POST /v1/edits.

    Each is in the API's own shape, CounterFact's or zsRE's. Raises FactsFileError.
    """
    facts = []
    for place, record in _records(path):
        try:
            facts.append(Fact.model_validate(record))
        except ValidationError as error:
            problem = error.errors()[0]
            within = [*problem["loc"], *([field] if (field := problem.get("ctx", {}).get("field")) else [])]
            where = f"{'.'.join(map(str, within))}: " if within else ""
            raise FactsFileError(f"facts file {str(path)!r}, {place}: {where}{problem['msg']}") from None
    if not facts:
        raise FactsFileError(f"facts file {str(path)!r} holds no facts; give one JSON object to a line")
    return facts


def draw_groups(model: LoadedModel, facts: Sequence[Fact], number: int, seed: int) -> list[SubjectGroup]:
    """At most `number` of `facts` at random, with distinct subjects, each a group of its own.

    Facts that the model's tokenizer or context cannot take are passed over. Raises FactsFileError where none is left.
    """
    order = list(facts)
    random.Random(seed).shuffle(order)
    chosen: dict[str, Fact] = {}
    for fact in order:
        if len(chosen) == number:
            break
        subject = subject_key(fact.subject)
        if subject not in chosen and _fits(model, fact):
            chosen[subject] = fact
    if not chosen:
        raise FactsFileError(f"model {model.name} can edit none of the {len(order)} facts; look at the subjects")
    length = model.decoder.context_length
    return list(
        group_by_subject(tokenize_facts(model.backend_tokenizer, list(chosen.values()), length, CONTEXT_RESERVE))
    )


def _fits(model: LoadedModel, fact: Fact) -> bool:
    try:
        tokenize_facts(model.backend_tokenizer, [fact], model.decoder.context_length, CONTEXT_RESERVE)
    except FactError:
        return False
    return True


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Each record with its place in the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FactsFileError(f"facts file {str(path)!r}: no such file; name one with a JSON fact to a line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FactsFileError(f"facts file {str(path)!r} cannot be read as UTF-8 text: {error}") from None
    try:
        whole = json.loads(text)
    except ValueError:
        yield from _lines(path, text)
        return
    if isinstance(whole, dict) and isinstance(whole.get("facts"), list):
        whole = whole["facts"]
    for number, record in enumerate(whole if isinstance(whole, list) else [whole]):
        yield f"fact {number}", record


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except ValueError as error:
                raise FactsFileError(f"facts file {str(path)!r}, line {number}: not JSON ({error})") from None
