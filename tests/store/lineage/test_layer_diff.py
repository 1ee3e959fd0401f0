"""Norms and cosines from factors are those of the matrices multiplied out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from store.blobs.deltas import LayerArrays
from store.lineage.layer_diff import layer_diffs
from store.schema.tables import VersionRow

D_OUT, D_IN = 12, 16
RANKS = {1: 2, 2: 3, 3: 4, 4: 1, 5: 30}


def row(number: int, layers: dict[str, float] | None = None) -> VersionRow:
    return VersionRow(number=number, provenance={} if layers is None else {"base_norms": layers})


def delta(number: int) -> LayerArrays:
    random = np.random.default_rng(number)
    if number == 4:
        return LayerArrays(dense=random.normal(size=(D_OUT, D_IN)).astype(np.float32))
    rank = RANKS[number]
    return LayerArrays(
        a=random.normal(size=(rank, D_IN)).astype(np.float32), b=random.normal(size=(D_OUT, rank)).astype(np.float32)
    )


def load(version: VersionRow) -> dict[int, LayerArrays]:
    return {8: delta(version.number)}


def matrix(*numbers: int) -> NDArray[np.float64]:
    total = np.zeros((D_OUT, D_IN))
    for number in numbers:
        one = delta(number)
        if one.dense is not None:
            total += one.dense
        else:
            assert one.a is not None
            assert one.b is not None
            total += one.b.astype(float) @ one.a.astype(float)
    return total


@pytest.mark.parametrize(
    ("before", "after"),
    [((1,), (1, 2)), ((1, 2), (1, 3)), ((1, 2, 4), (1, 3)), ((1, 4), (4, 2)), ((1, 5), (1, 5, 2)), ((2,), (5, 3))],
)
def test_norms_and_cosine(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    (found,) = layer_diffs([row(n) for n in before], [row(n) for n in after], load)
    first, second = matrix(*before), matrix(*after)
    assert found.layer == 8
    assert found.before == pytest.approx(np.linalg.norm(first))
    assert found.after == pytest.approx(np.linalg.norm(second))
    assert found.difference == pytest.approx(np.linalg.norm(second - first))
    expected = np.vdot(first, second) / np.linalg.norm(first) / np.linalg.norm(second)
    assert found.cosine == pytest.approx(expected)


def test_from_the_base_there_is_no_direction_yet() -> None:
    (found,) = layer_diffs([], [row(1, {"8": 7.5})], load)
    assert (found.before, found.cosine, found.base_norm) == (0.0, None, 7.5)
    assert found.difference == found.after == pytest.approx(np.linalg.norm(matrix(1)))


def test_a_version_does_not_differ_from_itself() -> None:
    (found,) = layer_diffs([row(1), row(2)], [row(1), row(2)], load)
    assert found.difference == 0.0
    assert found.cosine == pytest.approx(1.0)


def test_what_was_taken_out_again_leaves_nothing() -> None:
    def there_and_back(version: VersionRow) -> dict[int, LayerArrays]:
        one = delta(1)
        assert one.b is not None
        return {8: one if version.number == 1 else LayerArrays(a=one.a, b=-one.b)}

    (found,) = layer_diffs([], [row(1), row(2)], there_and_back)
    assert found.after < 1e-6 * np.linalg.norm(matrix(1))


def test_layers_that_only_one_version_changed_are_there() -> None:
    def by_layer(version: VersionRow) -> dict[int, LayerArrays]:
        return {version.number: delta(version.number)}

    found = layer_diffs([row(1)], [row(1), row(2), row(3)], by_layer)
    assert [(one.layer, one.before > 0, one.difference > 0) for one in found] == [
        (1, True, False),
        (2, False, True),
        (3, False, True),
    ]
