"""Warnings about a batch's facts that do not make it fail."""

from __future__ import annotations

from collections.abc import Iterable

from api_schemas.metrics import BatchWarning
from editing.methods import EditSettings
from editing.values.facts import SubjectGroup

SUBJECT_BEGINS_TEXT = "subject_begins_text"
SUBJECT_SHARES_TOKEN = "subject_shares_token"


def batch_warnings(groups: Iterable[SubjectGroup], settings: EditSettings) -> list[BatchWarning]:
    """Of the facts in `groups`: those whose subject is the first token that the model reads, and those whose subject's
    last token holds punctuation, too."""
    facts = [fact for group in groups for fact in group.facts]
    warnings = []
    if beginning := sorted(fact.index for fact in facts if fact.begins_text):
        warnings.append(_begins_text(beginning, settings))
    if sharing := sorted(fact.index for fact in facts if fact.shares_token):
        warnings.append(_shares_token(sharing))
    return warnings


def _begins_text(indices: list[int], settings: EditSettings) -> BatchWarning:
    consequence = (
        "They are edited for prompts that come after other text, and not for the bare prompt"
        if settings.context_texts
        else "Without contexts they are written into that key, which may change what is said after any text's beginning"
    )
    detail = (
        f"facts {_listed(indices)}: the subject is a single token at the very start of the prompt, where the model's "
        f"state is nearly the same whatever the token is. {consequence}. To have the bare prompt answered, put words "
        'before the subject, such as "The city of {} is"'
    )
    return BatchWarning(code=SUBJECT_BEGINS_TEXT, detail=detail, facts=indices)


def _shares_token(indices: list[int]) -> BatchWarning:
    detail = (
        f"facts {_listed(indices)}: the subject's last token also holds the punctuation that follows it. They are "
        "edited at that token, and hold less well where other text follows the subject; a space after {} parts the two"
    )
    return BatchWarning(code=SUBJECT_SHARES_TOKEN, detail=detail, facts=indices)


def _listed(indices: list[int]) -> str:
    more = len(indices) - 20
    return ", ".join(map(str, indices[:20])) + (f" and {more} more" if more > 0 else "")
