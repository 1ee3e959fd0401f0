"""A fact as it is sent, and what is made of it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from api_schemas.facts import Fact


@pytest.mark.parametrize(
    ("prompt", "subject", "placed"),
    [
        ("Although Al is", "Al", "Although {} is"),
        ("Al is, although", "Al", "{} is, although"),
        ("In Romania, Rome is", "Rome", "In Romania, {} is"),
        ("The Al-Azhar of Al lies in", "Al", "The {}-Azhar of Al lies in"),
        ("Is C++ or C older?", "C", "Is {}++ or C older?"),
        ("CC and C++ are", "C++", "CC and {} are"),
        ("Lyonin kaupunki on", "Lyon", "{}in kaupunki on"),
        ("法国的首都是", "法国", "{}的首都是"),
        ("Anna, Ann and Ann are", "Ann", "Anna, {} and Ann are"),
        ("a.b and axb", "a.b", "{} and axb"),
        ("Al is {} already", "Al", "Al is {} already"),
    ],
)
def test_a_subject_is_looked_for_as_a_word_of_its_own_before_it_is_found_in_another(
    prompt: str, subject: str, placed: str
) -> None:
    assert Fact(prompt=prompt, subject=subject, target_new="x").prompt == placed


def test_a_subject_that_is_nowhere_is_refused() -> None:
    with pytest.raises(ValidationError, match="subject 'Lyon' does not occur in prompt 'The city is'"):
        Fact(prompt="The city is", subject="Lyon", target_new="x")
