"""An answer that is cut where its metric is certain is worth what the whole one is."""

from __future__ import annotations

import random

import pytest

from api_schemas.facts import Fact
from editing.metrics.said.certainty import begins_for_certain, is_certain, says_for_certain
from editing.metrics.said.wording import begins_with_one, says_one
from editing.readings.observations import Reading

PIECES = ["new", "New ", " york", "york", "city", " ", ", ", ".", "Yorkshire", "n", "日本", "日", "é", "ß", "\n", "a-"]
ANSWERS = [["York"], ["New York"], ["new york city", "York"], ["日本"], ["York", "a"], ["ß", "new"]]
OLD = [None, "New York", "york", "New York City", "city", "日", "new"]


@pytest.mark.parametrize("answers", ANSWERS)
def test_what_is_certain_stays_so_however_the_text_goes_on(answers: list[str]) -> None:
    source = random.Random(1)
    decided = {True: 0, False: 0}
    for _ in range(400):
        old = source.choice(OLD)
        text = "".join(source.choices(PIECES, k=source.randint(1, 8)))
        for end in range(len(text) + 1):
            start = text[:end]
            for certain, whole in (
                (says_for_certain(start, answers, old), says_one(text, answers, old)),
                (begins_for_certain(start, answers), begins_with_one(text, answers)),
            ):
                if certain is not None:
                    assert certain == whole, (start, text, answers, old)
                    decided[certain] += 1
    assert min(decided.values()) > 20


def test_words_count_once_something_stands_after_them() -> None:
    assert says_for_certain("in York", ["York"], None) is None
    assert says_for_certain("in York ", ["York"], None) is None
    assert says_for_certain("in York,", ["York"], None) is True
    assert says_for_certain("in York and", ["York"], "New York City") is None
    assert says_for_certain("in York and in Leeds", ["York"], "New York City") is True
    assert says_for_certain("in Leeds, where it is", ["York"], "Leeds") is False
    assert says_for_certain("in Leeds, where it is", ["York"], None) is None
    assert begins_for_certain(" Le", ["York"]) is False
    assert begins_for_certain(" Yo", ["York"]) is None
    assert begins_for_certain("Yo\N{REPLACEMENT CHARACTER}", ["Yoé"]) is None


def test_each_reading_has_the_rule_of_its_metric() -> None:
    fact = Fact(prompt="{} is in", subject="It", target_new="York", target_old="Leeds")
    assert is_certain(Reading.GREEDY, fact, "Le")
    assert not is_certain(Reading.GREEDY_CHAT, fact, "Le")
    assert is_certain(Reading.GREEDY_CHAT, fact, "It is in York, of course")
    assert is_certain(Reading.GREEDY_PARAPHRASES, fact, "Leeds. York is")
    assert not is_certain(Reading.GREEDY_LOCALITY, fact, "It is in York, of course")
