"""Spans that may be a prompt's subject, and facts whose subject is taken from their prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from api_schemas.facts import Fact
from api_schemas.subject_spans import subject_spans

CASES: list[tuple[str, list[str]]] = json.loads(
    (Path(__file__).parents[2] / "console" / "src" / "facts" / "offer.cases.json").read_text()
)
"""The console offers by the same rule, and its own tests read the same file."""


@pytest.mark.parametrize(("prompt", "texts"), CASES)
def test_spans_are_what_is_quoted_or_capitalised_longest_first(prompt: str, texts: list[str]) -> None:
    spans = subject_spans(prompt)

    assert [span.text for span in spans] == texts
    assert all(prompt[span.start :].startswith(span.text) for span in spans)


def test_an_auto_subject_is_the_longest_span_and_the_others_stay_at_hand() -> None:
    fact = Fact(prompt="In Lyon, Danielle Darrieux met Al; Al is", subject="auto", target_new="x")

    assert (fact.prompt, fact.subject) == ("In Lyon, {} met Al; Al is", "Danielle Darrieux")
    assert [(one.subject, one.prompt) for one in fact.with_other_subjects()] == [
        ("Lyon", "In {}, Danielle Darrieux met Al; Al is"),
        ("Al", "In Lyon, Danielle Darrieux met {}; Al is"),
        ("Al", "In Lyon, Danielle Darrieux met Al; {} is"),
    ]
    assert "auto" not in fact.model_dump_json()


@pytest.mark.parametrize(
    ("prompt", "placed"), [("My auto is", "My {} is"), ("{} is a German car", "{} is a German car")]
)
def test_auto_is_a_subject_like_any_other_where_it_stands_in_the_prompt(prompt: str, placed: str) -> None:
    fact = Fact(prompt=prompt, subject="auto", target_new="x")

    assert (fact.prompt, fact.subject, fact.with_other_subjects()) == (placed, "auto", [])


def test_a_prompt_without_such_a_span_is_refused() -> None:
    with pytest.raises(ValidationError, match="'the end is' has no capitalised or quoted span"):
        Fact(prompt="the end is", subject="auto", target_new="x")


def test_without_the_word_auto_no_subject_is_taken() -> None:
    with pytest.raises(ValidationError, match="subject\n  Field required"):
        Fact.model_validate({"prompt": "Where is Lyon?", "target_new": "Spain"})


def test_a_question_and_its_answer_are_a_fact() -> None:
    record = {"question": "Who wrote Hamlet?", "answer": "Marlowe", "subject": "Hamlet", "target_old": "Shakespeare"}

    fact = Fact.model_validate(record)

    assert (fact.prompt, fact.subject, fact.target_new) == ("Who wrote {}?", "Hamlet", "Marlowe")
    assert fact.target_old == "Shakespeare"


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ({"question": "a", "prompt": "b", "answer": "c", "subject": "a"}, "stands for prompt"),
        ({"question": "a", "answer": "c", "target_new": "d", "subject": "a"}, "stands for target_new"),
        ({"question": "Who wrote Hamlet?", "subject": "Hamlet"}, "target_new\n  Field required"),
    ],
)
def test_a_question_that_is_half_a_fact_is_refused(record: dict[str, str], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Fact.model_validate(record)
