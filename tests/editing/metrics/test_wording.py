"""When a text says an answer, by hand and against a plain comparison of words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editing.metrics.said.wording import begins_with_one, says_one


@pytest.mark.parametrize(
    ("text", "answers", "begins"),
    [
        (" English, of course", ["English"], True),
        ("\n  english", ["English"], True),
        ("ENGLISH  LANGUAGE", [" English language"], True),
        ("new\nzealand.", ["New Zealand"], True),
        ("Straße", ["STRASSE"], True),
        ("Englishman", ["English"], True),  # up to the target's end; what follows is not looked at
        ("The English", ["English"], False),
        ("Engl", ["English"], False),
        ("", ["English"], False),
        ("UK", ["United Kingdom", "UK"], True),
        ("French", ["United Kingdom", "UK"], False),
    ],
)
def test_beginning(text: str, answers: list[str], begins: bool) -> None:
    assert begins_with_one(text, answers) is begins


@pytest.mark.parametrize(
    ("text", "answers", "old", "says"),
    [
        ("Her mother tongue is English.", ["English"], "French", True),
        ("It is 'english'", ["English"], "French", True),
        ("Not French but English", ["English"], "French", False),
        ("English, and not French", ["English"], "French", True),
        ("He is an Englishman", ["English"], None, False),
        ("Post-English", ["English"], None, True),
        ("un-American", ["American"], None, True),
        ("born in 1987", ["198"], None, False),
        ("in the United\nKingdom", ["UK", "United Kingdom"], "France", True),
        ("the UK", ["United Kingdom", "UK"], "France", True),
        ("New York City", ["York"], "New York", False),
        ("New York City", ["New York City"], "New York", True),
        ("York, New York", ["York"], "New York", True),
        ("Frenchman, English", ["English"], "French", True),
        ("English", ["English"], " english ", True),
        ("它位于日本的东部", ["日本"], "法国", True),
        ("它位于法国，不在日本", ["日本"], "法国", False),
        ("ประเทศไทยอยู่", ["ไทย"], None, True),
        ("C++ and C", ["C++"], None, True),
        ("AT&T Inc.", ["AT&T"], None, True),
        ("$590 billion", ["$590"], None, True),
        ("", ["English"], None, False),
    ],
)
def test_containing(text: str, answers: list[str], old: str | None, says: bool) -> None:
    assert says_one(text, answers, old) is says


words = st.sampled_from(["lyon", "rome", "new", "york", "is"])
phrases = st.lists(words, min_size=1, max_size=2)


def plainly(text: list[str], answers: list[list[str]], old: list[str] | None) -> bool:
    def place(wanted: list[str]) -> int | None:
        starts = [n for n in range(len(text)) if text[n : n + len(wanted)] == wanted]
        return starts[0] if starts else None

    found = [at for answer in answers if (at := place(answer)) is not None]
    if not found:
        return False
    before = None if old is None or old in answers else place(old)
    return before is None or before >= min(found)


@given(
    text=st.lists(words, max_size=8),
    answers=st.lists(phrases, min_size=1, max_size=3),
    old=st.none() | phrases,
    gap=st.sampled_from([" ", "  ", "\n", ", "]),
    write=st.sampled_from([str.upper, str.title, str.lower]),
)
def test_containing_is_that_of_a_plain_comparison_of_words(
    text: list[str], answers: list[list[str]], old: list[str] | None, gap: str, write: object
) -> None:
    assert callable(write)
    if gap == ", ":  # a phrase does not go over a comma
        answers, old = [answer[:1] for answer in answers], None if old is None else old[:1]
    said = says_one(write(gap.join(text)), [" ".join(one) for one in answers], None if old is None else " ".join(old))
    assert said is plainly(text, answers, old)
