"""The one solve against each method's textbook form, in float64, on both sides of the cost choice."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from editing.covariance.key_metric import InverseSecondMoment
from editing.errors import SingularSolveError, StatisticError
from editing.solve.closed_form import CONDITION_LIMIT, factor_keys, solve
from editing.solve.layer_measures import layer_measures

EXACT = {"condition_limit": math.inf}


def spectrum(generator: torch.Generator, size: int, condition: float) -> Tensor:
    """A symmetric positive definite matrix with eigenvalues spread evenly on a log scale."""
    basis, _ = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator))
    return (basis * torch.logspace(0, -math.log10(condition), size, dtype=torch.float64)) @ basis.T


def problem(
    seed: int, d_in: int, d_out: int, n_keys: int, condition: float, of_keys: float = 2.0
) -> tuple[Tensor, Tensor, Tensor]:
    """C (d_in, d_in) of that condition; K (d_in, E) with KᵀC⁻¹K of condition `of_keys`; R (d_out, E)."""
    generator = torch.Generator().manual_seed(seed)
    C = spectrum(generator, d_in, condition)
    rank = min(d_in, n_keys)
    left, _ = torch.linalg.qr(torch.randn(d_in, rank, dtype=torch.float64, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(n_keys, rank, dtype=torch.float64, generator=generator))
    Y = (left * torch.logspace(0, -0.5 * math.log10(of_keys), rank, dtype=torch.float64)) @ right.T
    return C, torch.linalg.cholesky(C) @ Y, torch.randn(d_out, n_keys, dtype=torch.float64, generator=generator)


def metric(C: Tensor) -> InverseSecondMoment:
    return InverseSecondMoment(torch.linalg.cholesky(C))


def rome(C: Tensor, k: Tensor, r: Tensor) -> Tensor:
    """ROME, arXiv 2202.05262, equation 2: Λ (C⁻¹k)ᵀ with Λ = (v − Wk) / (C⁻¹k)ᵀk; k (d_in,), r = v − Wk (d_out,)."""
    u = torch.linalg.solve(C, k)
    return torch.outer(r / torch.dot(u, k), u)


def memit(C: Tensor, K: Tensor, R: Tensor, weight: float) -> Tensor:
    """MEMIT, arXiv 2210.07229, equation 14: R Kᵀ (λC + KKᵀ)⁻¹."""
    return torch.linalg.solve(weight * C + K @ K.T, K @ R.T).T


def emmet(C: Tensor, K: Tensor, R: Tensor) -> Tensor:
    """EMMET, arXiv 2403.14236, equation 9: R (Kᵀ C⁻¹ K)⁻¹ Kᵀ C⁻¹."""
    CK = torch.linalg.solve(C, K)
    return R @ torch.linalg.solve(K.T @ CK, CK.T)


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


shapes = st.tuples(st.integers(2, 40), st.integers(1, 12), st.integers(0, 10_000))
conditions = st.sampled_from([(1.0, 1e4), (1e2, 1e2), (1e4, 1.0)])
"""Of C, and of the keys in C's metric: what is inverted has the product's condition, 1e4, at most."""


@settings(max_examples=40, derandomize=True)
@given(shapes, conditions)
def test_one_fact_is_rome(shape: tuple[int, int, int], condition: tuple[float, float]) -> None:
    d_in, d_out, seed = shape
    C, K, R = problem(seed, d_in, d_out, 1, condition[0])
    found = solve(K, R, metric(C), mu=0.0)
    assert error(found.matrix(), rome(C, K[:, 0], R[:, 0])) < 1e-10
    assert found.mu_used == 0.0


@settings(max_examples=40, derandomize=True)
@given(shapes, conditions, st.floats(0.01, 1.0))
def test_a_batch_without_mu_is_emmet(shape: tuple[int, int, int], condition: tuple[float, float], share: float) -> None:
    d_in, d_out, seed = shape
    C, K, R = problem(seed, d_in, d_out, max(1, int(share * d_in)), *condition)
    found = solve(K, R, metric(C), mu=0.0, **EXACT)
    assert found.mu_used == 0.0
    assert error(found.matrix(), emmet(C, K, R)) < 1e-10
    assert error(found.matrix() @ K, R) < 1e-10


@settings(max_examples=60, derandomize=True)
@given(shapes, conditions, st.floats(0.01, 3.0), st.booleans())
def test_a_batch_with_mu_is_memit_on_either_side(
    shape: tuple[int, int, int], condition: tuple[float, float], share: float, much: bool
) -> None:
    d_in, d_out, seed = shape
    mu = 1e3 if much else 1e-4 * condition[0]  # with less, μC + KKᵀ itself is worse conditioned than 1e4
    C, K, R = problem(seed, d_in, d_out, max(1, int(share * d_in)), *condition)
    found = solve(K, R, metric(C), mu=mu, **EXACT)
    assert found.mu_used == mu
    assert error(found.matrix(), memit(C, K, R, mu)) < 1e-10


def test_both_sides_are_taken_and_agree() -> None:
    C, K, R = problem(0, 40, 8, 39, 1e3)
    few = solve(K[:, :5], R[:, :5], metric(C), mu=1.0)
    many = solve(K, R, metric(C), mu=1.0)
    assert (few.side, many.side) == ("keys", "inputs")
    exact = solve(K, R, metric(C), mu=1e-9, **EXACT)  # too little μ to take the cheaper side safely
    inputs = solve(torch.cat([K, K], 1), torch.cat([R, R], 1), metric(C), mu=2e-9, **EXACT)
    assert inputs.side == "inputs"
    assert error(exact.matrix(), inputs.matrix()) < 1e-6


@pytest.mark.parametrize("n_keys", [30, 40, 90])
def test_beyond_that_condition_the_backward_error_stays_at_rounding(n_keys: int) -> None:
    C, K, R = problem(1, 40, 8, n_keys, 1e12, 1e6)
    found = solve(K, R, metric(C), mu=1e-6, **EXACT)
    delta, M, wanted = found.matrix(), 1e-6 * C + K @ K.T, R @ K.T
    assert float((delta @ M - wanted).norm() / (delta.norm() * M.norm() + wanted.norm())) < 1e-12


def test_factors_are_kept_while_they_are_smaller_than_the_matrix() -> None:
    C, K, R = problem(2, 40, 30, 17, 10.0)
    small = solve(K, R, metric(C), mu=0.0)
    assert small.A is not None
    assert small.B is not None
    assert (tuple(small.A.shape), tuple(small.B.shape)) == ((17, 40), (30, 17))
    torch.testing.assert_close(small.B, R)
    C, K, R = problem(2, 40, 30, 18, 10.0)
    assert solve(K, R, metric(C), mu=0.0).dense is not None


def test_keys_factored_once_serve_any_residual() -> None:
    for n_keys in (6, 60):
        C, K, R = problem(3, 40, 8, n_keys, 10.0)
        factor = factor_keys(K, metric(C), mu=1.0, d_out=8)
        first, second = factor.solve(R), factor.solve(2 * R)
        torch.testing.assert_close(2 * first.matrix(), second.matrix())
        torch.testing.assert_close(first.matrix(), solve(K, R, metric(C), mu=1.0).matrix())


def test_relative_mu_is_a_multiple_of_the_mean_eigenvalue() -> None:
    C, K, R = problem(4, 20, 5, 7, 100.0)
    mean = float(torch.linalg.eigvalsh(K.T @ torch.linalg.solve(C, K)).mean())
    assert solve(K, R, metric(C), mu_relative=0.5).mu_used == pytest.approx(0.5 * mean, rel=1e-10)
    scaled = solve(1000 * K, R, metric(1e6 * C), mu_relative=0.5)
    assert scaled.mu_used == pytest.approx(0.5 * mean, rel=1e-9)


def duplicated(seed: int = 5, apart: float = 1e-3) -> tuple[Tensor, Tensor, Tensor]:
    """A well-conditioned batch of 24 facts in which key 1 is key 0 but for `apart` of its norm; their R differ."""
    C, K, R = problem(seed, 64, 32, 24, 100.0)
    noise = torch.randn(64, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    K[:, 1] = K[:, 0] + apart * K[:, 0].norm() * noise / noise.norm()
    return C, K, R


def test_a_nearly_duplicate_key_raises_mu_as_little_as_is_sufficient() -> None:
    C, K, R = duplicated()
    clean = solve(torch.cat([K[:, :1], K[:, 2:]], 1), torch.cat([R[:, :1], R[:, 2:]], 1), metric(C), mu=0.0)
    naive = solve(K, R, metric(C), mu=0.0, **EXACT)
    found = solve(K, R, metric(C), mu=0.0)
    assert float(naive.matrix().norm()) > 20 * float(clean.matrix().norm())
    assert float(found.matrix().norm()) < 3 * float(clean.matrix().norm())
    assert (found.mu_asked, clean.mu_used) == (0.0, 0.0)
    assert found.condition_number == pytest.approx(CONDITION_LIMIT, rel=1e-6)
    eigenvalues = torch.linalg.eigvalsh(K.T @ torch.linalg.solve(C, K)) + found.mu_used
    assert float(eigenvalues[-1] / eigenvalues[0]) == pytest.approx(CONDITION_LIMIT, rel=1e-3)
    others = (found.matrix() @ K - R)[:, 2:]
    assert float(others.norm() / R[:, 2:].norm()) < 0.02


def test_a_strict_solve_refuses_and_names_the_two_keys() -> None:
    C, K, R = duplicated()
    with pytest.raises(SingularSolveError, match=r"keys 0 and 1 are the most alike.*turn strict off"):
        solve(K, R, metric(C), mu=0.0, strict=True)
    C, K, R = problem(6, 64, 32, 24, 100.0)
    assert solve(K, R, metric(C), mu=0.0, strict=True).mu_used == 0.0


def test_identical_keys_are_solved_with_mu_and_refused_when_strict() -> None:
    C, K, R = duplicated(apart=0.0)
    found = solve(K, R, metric(C), mu=0.0)
    assert found.mu_used > 0
    # What two identical keys can have is the mean of what they want.
    middle = (R[:, 0] + R[:, 1]) / 2
    torch.testing.assert_close(found.matrix() @ K[:, 0], middle, rtol=0.05, atol=0.05)
    with pytest.raises(SingularSolveError, match=r"cosine 1\.0"):
        solve(K, R, metric(C), mu=0.0, strict=True)
    for n_keys in (3, 90):  # no limit asks for no more than a solution, which keys of zero do not have
        with pytest.raises(SingularSolveError):
            solve(0 * K[:, [0] * n_keys], R[:, [0] * n_keys], metric(C), mu=0.0, **EXACT)


def test_more_facts_than_inputs_take_the_smallest_mu_or_are_refused() -> None:
    C, K, R = problem(7, 30, 8, 50, 10.0)
    found = solve(K, R, metric(C), mu=0.0)
    Y = torch.linalg.solve_triangular(torch.linalg.cholesky(C), K, upper=False)
    largest = float(torch.linalg.eigvalsh(Y @ Y.T)[-1])
    assert found.mu_used == pytest.approx(largest / (CONDITION_LIMIT - 1), rel=1e-6)
    assert error(found.matrix(), memit(C, K, R, found.mu_used)) < 1e-8
    with pytest.raises(SingularSolveError, match="50 facts, room for 30 independent keys"):
        solve(K, R, metric(C), mu=0.0, strict=True)
    assert solve(K, R, metric(C), mu=largest, strict=True).mu_used == largest


def test_a_singular_metric_meets_the_same_formula() -> None:
    """AlphaEdit's first batch: S a projector P = F Fᵀ of rank 12 of 30."""
    generator = torch.Generator().manual_seed(8)
    F, _ = torch.linalg.qr(torch.randn(30, 12, dtype=torch.float64, generator=generator))

    class Projector:
        rank = 12
        device = torch.device("cpu")

        def whiten(self, K: Tensor) -> Tensor:
            return F.T @ K

        def unwhiten(self, X: Tensor) -> Tensor:
            return X @ F.T

    P = F @ F.T
    for n_keys in (5, 12, 20):
        K = torch.randn(30, n_keys, dtype=torch.float64, generator=generator)
        R = torch.randn(6, n_keys, dtype=torch.float64, generator=generator)
        G = K.T @ P @ K + 0.7 * torch.eye(n_keys, dtype=torch.float64)
        assert error(solve(K, R, Projector(), mu=0.7).matrix(), R @ torch.linalg.solve(G, K.T @ P)) < 1e-10


def test_the_report_is_that_of_the_definitions() -> None:
    for n_keys in (4, 40):
        C, K, R = problem(9, 24, 8, n_keys, 50.0)
        W = torch.randn(8, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        found = solve(K, R, metric(C), mu=0.3)
        delta, V = found.matrix(), W @ K + R
        report = layer_measures(W, K, R, found, torch.linalg.cholesky(C))
        assert report.memorization_error == pytest.approx(float(((W + delta) @ K - V).norm() / V.norm()), rel=1e-9)
        cost = float(torch.trace(delta @ C @ delta.T) / torch.trace(W @ C @ W.T))
        assert report.preservation_cost == pytest.approx(cost, rel=1e-9)
        assert report.relative_norm == pytest.approx(float(delta.norm() / W.norm()), rel=1e-9)


def test_nothing_moves_ordinary_keys_less_than_the_equality_solution() -> None:
    C, K, R = problem(10, 24, 6, 5, 100.0)
    delta = solve(K, R, metric(C), mu=0.0).matrix()
    cost = float(torch.trace(delta @ C @ delta.T))
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        step = torch.randn(6, 24, dtype=torch.float64, generator=generator)
        other = delta + step - step @ K @ torch.linalg.pinv(K)  # meets the same equality
        assert error(other @ K, R) < 1e-9
        assert float(torch.trace(other @ C @ other.T)) > cost


def test_lower_precision_input_is_solved_in_double() -> None:
    C, K, R = problem(11, 24, 6, 5, 10.0)
    found = solve(K.float(), R.bfloat16(), metric(C), mu=0.0)
    assert found.matrix().dtype == torch.float64
    assert error(found.matrix(), emmet(C, K.float().double(), R.bfloat16().double())) < 1e-10


def test_unusable_input_is_named() -> None:
    C, K, R = problem(12, 24, 6, 5, 10.0)
    with pytest.raises(ValueError, match="not both"):
        solve(K, R, metric(C), mu=1.0, mu_relative=1.0)
    with pytest.raises(ValueError, match="at least one key"):
        solve(K[:, :0], R[:, :0], metric(C))
    with pytest.raises(ValueError, match=r"expected \(d_out, 5\)"):
        solve(K, R[:, :4], metric(C))
    with pytest.raises(StatisticError, match="width 23"):
        solve(K[:23], R, metric(C))
    K[0, 0] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        solve(K, R, metric(C))
