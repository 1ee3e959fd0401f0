"""KnowEdit (Zhang et al. 2024, arXiv 2401.01286), as EasyEdit keeps it: also wiki_counterfact, wiki_recent, WikiBio.

`portability` and `locality` are objects of lists by kind; answers are texts, or lists of them in one or two levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from editing.datasets.errors import RecordError
from editing.datasets.shape import (
    FactFields,
    Record,
    Shape,
    old_target,
    shown,
    text_at,
    texts_of,
    without_repeats,
)

_OWN_FIELDS: Final = frozenset({"ground_truth", "rephrase_prompt", "rephrase", "cond"})


def _facts(record: Record, convention: str) -> list[FactFields]:
    new = text_at(record, "target_new", "labels")
    others = list(_asked(record, "locality"))
    before = texts_of("ground_truth", record.get("ground_truth"))
    return [
        {
            "prompt": text_at(record, "prompt", "text"),
            "subject": text_at(record, "subject", "concept"),
            "target_new": new,
            "target_old": old_target(before[0] if before else None, new),
            "paraphrases": [
                *texts_of("rephrase_prompt", record.get("rephrase_prompt")),
                *texts_of("rephrase", record.get("rephrase")),
            ],
            "neighbors": [{"prompt": prompt, "target": answers[0] if answers else None} for prompt, answers in others],
            "locality": [{"prompt": prompt} for prompt, _ in others],
            "portability": [
                {"prompt": prompt, "target": answers[0], "aliases": without_repeats(answers[1:], answers[:1])}
                for prompt, answers in _asked(record, "portability")
                if answers
            ],
        }
    ]


def _asked(record: Record, name: str) -> list[tuple[str, list[str]]]:
    """All prompts of all kinds, each with its answers."""
    kinds = record.get(name) or {}
    if not isinstance(kinds, Mapping):
        raise RecordError(name, f"is {shown(kinds)}; it must be an object of lists by kind")
    found = []
    for kind, entries in kinds.items():
        for number, entry in enumerate(entries or []):
            field = f"{name}.{kind}[{number}]"
            if not isinstance(entry, Mapping):
                raise RecordError(field, f"is {shown(entry)}; it must be an object with prompt and ground_truth")
            answers = texts_of(f"{field}.ground_truth", entry.get("ground_truth"))
            found += [(prompt, answers) for prompt in texts_of(f"{field}.prompt", entry.get("prompt"))]
    return found


def _recognises(record: Record) -> bool:
    if {"text", "labels", "concept"} <= record.keys():
        return True
    kinds = any(isinstance(record.get(name), Mapping) for name in ("portability", "locality"))
    return {"prompt", "target_new"} <= record.keys() and (kinds or bool(_OWN_FIELDS & record.keys()))


KNOWEDIT = Shape(
    name="knowedit",
    title="KnowEdit",
    source="https://huggingface.co/datasets/zjunlp/KnowEdit",
    recognises=_recognises,
    facts=_facts,
    conventions={"target_new": "the new target is target_new (WikiBio: labels), the old one ground_truth"},
)
