"""Facts whose subject's last token holds punctuation, too: they are named, and edited all the same."""

from __future__ import annotations

from api_schemas.facts import Fact
from editing.methods import EditSettings
from editing.values.facts import group_by_subject, tokenize_facts
from tests.editing.test_subjects import byte_level
from workers.tasks.batch_warnings import batch_warnings

SHARING = Fact(prompt="The series {}, created in", subject="Comic High!", target_new="France")
PLAIN = Fact(prompt="The mother tongue of {} is", subject="Danielle Darrieux", target_new="English")


def codes(facts: list[Fact]) -> list[tuple[str, list[int]]]:
    groups = group_by_subject(tokenize_facts(byte_level(), facts, 200))
    return [(one.code, one.facts) for one in batch_warnings(groups, EditSettings(layers=(1,)))]


def test_facts_whose_subject_shares_its_last_token_are_named() -> None:
    assert codes([PLAIN, SHARING]) == [("subject_shares_token", [1])]


def test_others_are_not() -> None:
    assert codes([PLAIN]) == []
