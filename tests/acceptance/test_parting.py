"""Where two greedy answers part, and by how much."""

from __future__ import annotations

import pytest

from tests.acceptance.parting import Answer, gap_where_they_part

OWN = Answer(
    " a fox ran",
    (" a", " fox", " ran"),
    (
        {" a": -0.1, " the": -0.2, " th": -0.15},
        {" fox": -0.5, " fo": -0.6, " dog": -0.7},
        {" ran": -0.3, " runs": -1.3, "": -2.0},
    ),
)


@pytest.mark.parametrize(
    ("other", "gap"),
    [
        (" the fox", 0.1),  # its longest token that fits, not " th"
        (" a dog ran", 0.2),
        (" a fox runs", 1.0),
        (" a fox sits", None),  # not among the best of ours
        (" a fox", None),  # only ends earlier
        (" a fox ran home", None),
    ],
)
def test_the_gap_is_that_of_the_first_token_that_differs(other: str, gap: float | None) -> None:
    found = gap_where_they_part(OWN, other)
    assert found == (None if gap is None else pytest.approx(gap))
