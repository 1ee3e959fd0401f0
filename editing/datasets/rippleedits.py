"""RippleEdits (Cohen et al. 2024, arXiv 2307.12976): an edit, and what follows or must not follow from it.

The data set names an edit's subject by its Wikidata id alone, and writes the edit as a statement with its target.
Extended copies have `fact_prompt`, `subject_label` and `target_label`; without them all three are found from the
statement and from what else is asked about the same subject. Test conditions are not evaluated: all queries are asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from editing.datasets.errors import RecordError
from editing.datasets.shape import (
    FactFields,
    Record,
    Shape,
    object_at,
    objects_at,
    old_target,
    optional_text,
    text_at,
    texts_of,
    without_repeats,
)

FOLLOWS: Final = ("Logical_Generalization", "Compositionality_I", "Compositionality_II", "Subject_Aliasing")
STAYS: Final = ("Relation_Specificity", "Forgetfulness")
_OF: Final = " of "
_IS: Final = " is"


def _facts(record: Record, convention: str) -> list[FactFields]:
    edit = object_at(record, "edit")
    original = edit.get("original_fact")
    prompt = optional_text(edit, "fact_prompt") or _stem(edit)
    target = optional_text(edit, "target_label") or _rest(edit, prompt)
    subject = optional_text(edit, "subject_label", "subject") or _subject(record, edit, prompt)
    old = None
    if isinstance(original, dict):
        old = optional_text(original, "target_label") or _rest(original, prompt)
    stays = [asked for axis in STAYS for asked in _queries(record, axis)]
    return [
        {
            "prompt": prompt,
            "subject": subject,
            "target_new": target,
            "target_old": old_target(old, target),
            "neighbors": [{"prompt": question, "target": answers[0]} for question, answers in stays],
            "locality": [{"prompt": question} for question, _ in stays],
            "portability": [
                {"prompt": question, "target": answers[0], "aliases": without_repeats(answers[1:], answers[:1])}
                for axis in FOLLOWS
                for question, answers in _queries(record, axis)
            ],
        }
    ]


def _stem(edit: Record) -> str:
    """The statement up to its verb: "The name of the spouse of X is"."""
    statement = text_at(edit, "prompt")
    start, verb, _ = statement.partition(f"{_IS} ")
    if not verb:
        raise RecordError("edit.prompt", f"{statement!r} has no ' is ' before its target; add fact_prompt")
    return start + _IS


def _rest(edit: Record, prompt: str) -> str:
    """What the statement says after `prompt`."""
    statement = text_at(edit, "prompt", "fact_prompt")
    if not statement.startswith(prompt) or not (rest := statement[len(prompt) :].strip().removesuffix(".")):
        raise RecordError(
            "edit.prompt", f"{statement!r} does not go on from {prompt!r} with a target; add target_label"
        )
    return rest


def _subject(record: Record, edit: Record, prompt: str) -> str:
    """What the edit's prompt and another prompt about the same subject both end with, after their relations."""
    identity = edit.get("subject_id")
    for query in _about(record):
        other = query.get("prompt")
        if identity is not None and query.get("subject_id") == identity and isinstance(other, str) and other != prompt:
            common = _common_end(prompt, other)
            _, found, subject = common.partition(_OF)
            if found and subject.endswith(_IS) and (name := subject.removesuffix(_IS).strip()):
                return name
    raise RecordError("edit.subject_id", f"is {identity!r}, and nothing tells its name; add subject_label")


def _common_end(one: str, other: str) -> str:
    length = 0
    while length < min(len(one), len(other)) and one[-1 - length] == other[-1 - length]:
        length += 1
    return one[len(one) - length :]


def _about(record: Record) -> Iterator[dict[str, Any]]:
    for axis in (*STAYS, *FOLLOWS):
        for case in objects_at(record, axis):
            for query in (*objects_at(case, "test_queries"), *objects_at(case, "condition_queries")):
                yield dict(query)


def _queries(record: Record, axis: str) -> Iterator[tuple[str, list[str]]]:
    """Prompt and right answers, with aliases, of each test query that has an answer."""
    for case in objects_at(record, axis):
        for query in objects_at(case, "test_queries"):
            answers = [
                text
                for answer in objects_at(query, "answers")
                for text in (*texts_of("value", answer.get("value")), *texts_of("aliases", answer.get("aliases")))
            ]
            if answers:
                yield text_at(query, "prompt"), answers


RIPPLEEDITS = Shape(
    name="rippleedits",
    title="RippleEdits",
    source="https://github.com/edenbiran/RippleEdits",
    recognises=lambda record: isinstance(record.get("edit"), dict) and "prompt" in record["edit"],
    facts=_facts,
    conventions={
        "edit": "the new target is what the edit's statement ends with, the old one that of its original fact; what "
        "follows is portability, what stays is locality, test conditions aside"
    },
)
