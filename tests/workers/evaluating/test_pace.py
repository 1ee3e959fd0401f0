"""The size of a portion follows the time that portions take."""

from __future__ import annotations

from workers.evaluating.portions import AIM_SECONDS, MOST, SHORT_SECONDS, Pace


def test_a_portion_takes_about_as_long_as_it_shall() -> None:
    pace = Pace(first=4)
    pace.took(4, AIM_SECONDS / 2)
    assert pace.size == 8
    pace.took(8, SHORT_SECONDS, SHORT_SECONDS)
    assert pace.size == 8
    pace.took(8, AIM_SECONDS / 100)
    assert pace.size == 32
    pace.took(5, AIM_SECONDS / 100)
    assert pace.size == 32, "the last portion of all is small, not fast"
    pace.took(32, AIM_SECONDS * 100)
    assert pace.size == 8
    for _ in range(20):
        pace.took(pace.size, 0.0)
    assert pace.size == MOST
    assert Pace(least=16).size == 16
