"""MQuAKE (Zhong et al. 2023, arXiv 2305.14795) and MQuAKE-Remastered: several facts, and questions of several hops.

One record makes a fact of each rewrite. Its questions need all of them, so that they are asked once: with the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from editing.datasets.errors import RecordError
from editing.datasets.shape import (
    FactFields,
    Record,
    Shape,
    objects_at,
    old_target,
    optional_text,
    shown,
    text_at,
    texts_of,
    without_repeats,
)


def _facts(record: Record, convention: str) -> list[FactFields]:
    rewrites = objects_at(record, "requested_rewrite")
    if not rewrites:
        raise RecordError("requested_rewrite", "is empty; it must hold at least one rewrite")
    aliases = {
        hop["answer"]: texts_of("new_single_hops", hop.get("answer_alias"))
        for hop in objects_at(record, "new_single_hops")
        if isinstance(hop.get("answer"), str)
    }
    facts = [_fact(rewrite, aliases) for rewrite in rewrites]
    facts[0]["portability"] = _questions(record)
    return facts


def _fact(rewrite: Record, aliases: Mapping[str, list[str]]) -> FactFields:
    new = _target(rewrite, "target_new")
    if new is None:
        raise RecordError("requested_rewrite.target_new", "is missing; give the new answer's text as str")
    question = optional_text(rewrite, "question")
    return {
        "prompt": text_at(rewrite, "prompt"),
        "subject": text_at(rewrite, "subject"),
        "target_new": new,
        "target_old": old_target(_target(rewrite, "target_true"), new),
        "aliases": without_repeats(aliases.get(new, []), [new]),
        "paraphrases": [] if question is None else [question],
    }


def _target(rewrite: Record, name: str) -> str | None:
    """An object with the text as `str`, or the text itself, also in a field named for both (as tables have it)."""
    value: Any = rewrite.get(name, rewrite.get(f"{name}_str"))
    if isinstance(value, Mapping):
        value = value.get("str")
    if value is not None and not isinstance(value, str):
        raise RecordError(f"requested_rewrite.{name}", f"is {shown(value)}; it must be a text, or an object with str")
    return value


def _questions(record: Record) -> list[FactFields]:
    answer = text_at(record, "new_answer")
    old = old_target(optional_text(record, "answer"), answer)
    aliases = without_repeats(texts_of("new_answer_alias", record.get("new_answer_alias")), [answer])
    return [
        {"prompt": question, "target": answer, "target_old": old, "aliases": aliases}
        for question in texts_of("questions", record.get("questions"))
    ]


MQUAKE = Shape(
    name="mquake",
    title="MQuAKE",
    source="https://github.com/princeton-nlp/MQuAKE",
    recognises=lambda record: isinstance(record.get("requested_rewrite"), list) and "questions" in record,
    facts=_facts,
    conventions={
        "target_new": "the new target is target_new, the old one target_true; questions of several hops are "
        "portability of the record's first fact"
    },
)
