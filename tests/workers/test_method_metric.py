"""A method with a metric S of its own is solved, carried over and reverted in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from editing.covariance.key_metric import InverseSecondMoment
from editing.covariance.statistic import Statistic
from editing.methods import ALGORITHMS, EditSettings
from editing.solve.closed_form import solve
from tests.workers.conftest import Place
from tests.workers.reverting.reverted import LAYER, least_without
from tests.workers.reverting.test_revert import ANY, delta, distance, edit, facts, revert
from tests.workers.tasks.test_rebase import edit_during, move


def regularised(C: Tensor) -> Tensor:
    """C + γI, γ ten times the mean of C's diagonal."""
    return C + 10 * C.diagonal().mean() * torch.eye(C.shape[0], dtype=C.dtype)


def ridge(statistic: Statistic, settings: EditSettings, past_keys: Tensor | None) -> InverseSecondMoment:
    return InverseSecondMoment(torch.linalg.cholesky(regularised(statistic.C)))


@pytest.fixture(autouse=True)
def _method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALGORITHMS, "ridge", replace(ALGORITHMS["emmet"], name="ridge", metric=f"{__name__}:ridge"))


def second_moment(place: Place) -> Tensor:
    return place.loaded.statistics.get((LAYER,))[LAYER].C


def away_from_its_own(place: Place, number: int, C: Tensor) -> float:
    """How far version `number` is from the solve with S = C⁻¹ of what it keeps of its keys and residuals."""
    (own,) = (deltas[LAYER] for deltas in [*place.worker().matrices.deltas(number)][-1:])
    assert own.keys is not None
    assert own.values is not None
    metric = InverseSecondMoment(torch.linalg.cholesky(C))
    return distance(own.delta(), solve(own.keys.double(), own.values.double(), metric).matrix())


def test_its_edits_and_reverts_are_solved_in_it(place: Place) -> None:
    C = second_moment(place)
    edit(place, facts(place, 4), algorithm="ridge")
    assert away_from_its_own(place, 1, regularised(C)) < 1e-4
    assert away_from_its_own(place, 1, C) > 1e-2

    revert(place, 1, of=1)
    assert distance(delta(place, 2), least_without(place, 2, C=regularised(C))) < 1e-4
    assert distance(delta(place, 2), least_without(place, 2, C=C)) > 1e-3


def test_a_batch_that_is_carried_over_is_solved_in_it_again(place: Place) -> None:
    C = second_moment(place)
    edit(place, facts(place, 2))
    batch = edit_during(place, move(place, "latest", 0), facts(place, 3, first=3), algorithm="ridge", thresholds=ANY)
    assert (batch.state, batch.base_version, batch.version) == ("succeeded", 0, 2)
    assert away_from_its_own(place, 2, regularised(C)) < 1e-4
    assert away_from_its_own(place, 2, C) > 1e-2
