"""What a caller should know of a batch although nothing failed."""

from __future__ import annotations

from collections.abc import Iterable

from api_schemas.metrics import BatchWarning
from editing.methods import EditSettings
from editing.values.facts import SubjectGroup

SUBJECT_BEGINS_TEXT = "subject_begins_text"


def batch_warnings(groups: Iterable[SubjectGroup], settings: EditSettings) -> list[BatchWarning]:
    """Of the facts in `groups`: those whose subject is the first token that the model reads."""
    first = sorted(fact.index for group in groups for fact in group.facts if fact.begins_text)
    if not first:
        return []
    done = (
        "They are edited for prompts that come after other text, and not for the bare prompt"
        if settings.contexts
        else "Without contexts they are written into that key, which may change what is said after any text's beginning"
    )
    detail = (
        f"facts {_listed(first)}: the subject is a single token at the very start of the prompt, where the model's "
        f"state is nearly the same whatever the token is. {done}. To have the bare prompt answered, put words before "
        'the subject, such as "The city of {} is"'
    )
    return [BatchWarning(code=SUBJECT_BEGINS_TEXT, detail=detail, facts=first)]


def _listed(indices: list[int]) -> str:
    more = len(indices) - 20
    return ", ".join(map(str, indices[:20])) + (f" and {more} more" if more > 0 else "")
