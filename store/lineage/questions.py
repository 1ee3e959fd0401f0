"""The question key of a fact, indexed in SQL: facts with the same key answer the same question."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from api_schemas.facts import Fact, question_key

REMOVED = "[removed]"
"""What stands where a text was."""


def is_removed(fact: Mapping[str, Any]) -> bool:
    """Whether the fact's text was removed."""
    return bool(fact.get("target_new") == REMOVED)


def questions_of(facts: Iterable[Fact]) -> set[str]:
    """What `facts` ask."""
    return {question_of({"prompt": fact.prompt, "subject": fact.subject}) for fact in facts}


def question_of(fact: Mapping[str, Any]) -> str:
    """32 hexadecimal digits of the SHA-256 of prompt and subject. The migrations have a copy for older rows."""
    prompt, subject = question_key(fact["prompt"], fact["subject"])
    return hashlib.sha256(f"{prompt}\0{subject}".encode()).hexdigest()[:32]
