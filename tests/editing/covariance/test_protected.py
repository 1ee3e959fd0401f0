"""Metrics with past keys against the textbook forms, in float64 on random input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from api_schemas.settings import EditSettings
from editing.covariance.key_metric import InverseSecondMoment, pinned_metric
from editing.covariance.method_metric import key_metrics, wants_past_keys
from editing.covariance.null_space import null_space_metric
from editing.covariance.protected import WithPastKeys, beside, protected_metric
from editing.covariance.statistic import Statistic, make_statistic
from editing.errors import StatisticError
from editing.methods import ALGORITHMS
from editing.solve.closed_form import solve

D_IN, D_OUT = 24, 10


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def statistic(seed: int = 0) -> Statistic:
    text = random(D_IN, 200, seed=seed) * torch.logspace(0, -2, D_IN, dtype=torch.float64)[:, None]
    return make_statistic(text @ text.T / 200, layer=3, tokens=200, corpus="text", fingerprint="f" * 64)


def close(found: Tensor, expected: Tensor) -> None:
    assert float((found - expected).norm() / expected.norm()) < 1e-10


@pytest.mark.parametrize("past", [1, 7, 60], ids=["one", "some", "more-than-inputs"])
@pytest.mark.parametrize("weight", [0.0, 1e-3, 1.0, 50.0])
@pytest.mark.parametrize("mu", [0.5, 20.0])
def test_protected_is_the_inverse_with_the_past_keys_added(past: int, weight: float, mu: float) -> None:
    C, K, R = statistic().C, random(D_IN, 5, seed=1), random(D_OUT, 5, seed=2)
    past_keys = random(D_IN, past, seed=3)
    metric = protected_metric(InverseSecondMoment(statistic().factor), past_keys, weight)
    S = torch.linalg.inv(C + weight * past_keys @ past_keys.T)
    expected = R @ torch.linalg.solve(K.T @ S @ K + mu * torch.eye(5, dtype=torch.float64), K.T @ S)
    close(solve(K, R, metric, mu=mu, condition_limit=float("inf")).matrix(), expected)


@pytest.mark.parametrize("mu", [1.0, 30.0])
def test_batches_one_after_another_are_one_least_squares_where_a_past_key_weighs_one_over_mu(mu: float) -> None:
    """Recursive least squares: what a line of batches adds up to is the solution of all of them at once."""
    metric, K, R = InverseSecondMoment(statistic().factor), random(D_IN, 9, seed=4), random(D_OUT, 9, seed=5)
    together = solve(K, R, metric, mu=mu, condition_limit=float("inf")).matrix()
    total = torch.zeros(D_OUT, D_IN, dtype=torch.float64)
    for first in range(0, 9, 3):
        own, wanted = K[:, first : first + 3], R[:, first : first + 3]
        here = metric if first == 0 else protected_metric(metric, K[:, :first], 1 / mu)
        total += solve(own, wanted - total @ own, here, mu=mu, condition_limit=float("inf")).matrix()
    close(total, together)


def test_a_great_weight_is_a_pin() -> None:
    metric, past, K = InverseSecondMoment(statistic().factor), random(D_IN, 6, seed=6), random(D_IN, 4, seed=7)
    R = random(D_OUT, 4, seed=8)
    heavy = solve(K, R, protected_metric(metric, past, 1e12), mu=1.0).matrix()
    pinned = solve(K, R, pinned_metric(metric, past), mu=1.0).matrix()
    assert float((heavy - pinned).norm() / pinned.norm()) < 1e-4
    assert float((heavy @ past).norm() / (heavy @ K).norm()) < 1e-4


@pytest.mark.parametrize("past", [0, 5, 40])
def test_alphaedit_is_its_papers_formula(past: int) -> None:
    of, alpha, threshold = statistic(), 2.5, 1e-2
    K, R, K_p = random(D_IN, 4, seed=9), random(D_OUT, 4, seed=10), random(D_IN, past, seed=11)
    eigenvalues, U = torch.linalg.eigh(of.C)
    U = U[:, eigenvalues <= threshold * eigenvalues[-1]]
    assert 0 < U.shape[1] < D_IN
    P, unit = U @ U.T, torch.eye(D_IN, dtype=torch.float64)
    expected = R @ K.T @ P @ torch.linalg.inv(K_p @ K_p.T @ P + K @ K.T @ P + alpha * unit)
    metric = beside(null_space_metric(of, threshold, alpha, K_p), K)
    close(solve(K, R, metric, mu=1.0, condition_limit=float("inf")).matrix(), expected)


def test_a_null_space_that_is_empty_is_refused_with_the_share_that_would_do() -> None:
    with pytest.raises(StatisticError, match=r"layer 3 has no direction .*; set it above that"):
        null_space_metric(statistic(), 1e-9, 1.0)


def test_encores_ridge_is_added_to_c() -> None:
    of, settings = statistic(), EditSettings(layers=(3,), ridge=0.5)
    (metric,) = key_metrics(ALGORITHMS["memit"], {3: of}, settings).values()
    K, R = random(D_IN, 5, seed=12), random(D_OUT, 5, seed=13)
    gamma = 0.5 * float(of.C.trace()) / D_IN
    S = torch.linalg.inv(of.C + gamma * torch.eye(D_IN, dtype=torch.float64))
    expected = R @ torch.linalg.solve(K.T @ S @ K + 3.0 * torch.eye(5, dtype=torch.float64), K.T @ S)
    close(solve(K, R, metric, mu=3.0, condition_limit=float("inf")).matrix(), expected)


@pytest.mark.parametrize("weight", [0.1, None], ids=["weighted", "pinned"])
def test_a_batch_may_change_what_it_said_of_its_own_subject(weight: float | None) -> None:
    """The past key of a subject that is edited again is not protected from that; all others are."""
    metric, past = InverseSecondMoment(statistic().factor), random(D_IN, 6, seed=14)
    again = past[:, 2:3] + 1e-3 * random(D_IN, 1, seed=15)
    found = WithPastKeys(metric, past, weight).beside(again)
    others = past[:, [0, 1, 3, 4, 5]]
    expected = pinned_metric(metric, others) if weight is None else protected_metric(metric, others, weight)
    close(found.whiten(again), expected.whiten(again))
    assert WithPastKeys(metric, again, weight).beside(again) is metric


def test_the_settings_say_what_is_protected() -> None:
    past = {3: random(D_IN, 4, seed=16)}

    def of(algorithm: str, **settings: object) -> object:
        chosen = EditSettings.model_validate({"layers": (3,), **settings})
        return key_metrics(ALGORITHMS[algorithm], {3: statistic()}, chosen, past)[3]

    assert isinstance(of("emmet"), InverseSecondMoment)
    weighted, pinned = of("emmet", protect="weighted", protect_weight=7.0), of("memit", protect="pinned")
    assert isinstance(weighted, WithPastKeys)
    assert weighted.weight == 7.0
    assert isinstance(pinned, WithPastKeys)
    assert pinned.weight is None
    own = of("alphaedit", protect="pinned", null_space_threshold=1e-2)
    assert isinstance(own, WithPastKeys)
    assert own.weight == 1.0, "AlphaEdit has past keys of its own"
    assert wants_past_keys(ALGORITHMS["alphaedit"], EditSettings(layers=(3,)))
    assert not wants_past_keys(ALGORITHMS["emmet"], EditSettings(layers=(3,)))
