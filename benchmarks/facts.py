"""Facts for benchmarks, from a file in any shape that the service takes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from api_schemas.facts import Fact, subject_key
from editing.datasets import DataSetError
from editing.datasets.reading import read_data_set
from editing.errors import FactError
from editing.model.loading import LoadedModel
from editing.values.facts import SubjectGroup, group_by_subject, tokenize_facts

CONTEXT_RESERVE = 16
"""Tokens of the model's context that are kept for a context text before each prompt."""


FactsFileError = DataSetError
"""A file of facts is missing or cannot be read as facts; the message names the file, the places and the remedies."""


def read_facts(path: Path) -> list[Fact]:
    """The facts of `path`, in any shape of `editing.datasets`. Raises FactsFileError."""
    return read_data_set(path).facts


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
        raise FactsFileError(model.name, f"the model can edit none of the {len(order)} facts; look at the subjects")
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
