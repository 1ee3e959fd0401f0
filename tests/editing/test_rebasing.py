"""A layer carried over to another parent gives the same outputs at its keys there."""

from __future__ import annotations

import pytest
import torch

from api_schemas.algorithms import EditSettings
from editing.batch import LayerEdit
from editing.errors import SingularSolveError
from editing.rebasing import rebased
from editing.solve import solve
from editing.statistic import make_statistic

D_OUT, D_IN, E = 10, 16, 5


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def random(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("mu", [0.0, 0.7])
def test_outputs_at_the_keys_are_those_that_were_wanted(generator: torch.Generator, mu: float) -> None:
    text = random(generator, D_IN, 100)
    statistic = make_statistic(text @ text.T / 100, layer=3, tokens=100, corpus="random", fingerprint="f")
    keys, residual = random(generator, D_IN, E), random(generator, D_OUT, E)
    settings = EditSettings(layers=(3,), mu=mu)
    edit = LayerEdit(3, keys, residual, (solve(keys, residual, statistic.metric, mu=mu),))
    before, after = random(generator, D_OUT, D_IN), random(generator, D_OUT, D_IN)

    again = rebased(edit, before, after, statistic, settings)

    torch.testing.assert_close(after @ keys + again.residual, before @ keys + residual)
    torch.testing.assert_close(again.delta(), solve(keys, again.residual, statistic.metric, mu=mu).matrix())
    if mu == 0:
        torch.testing.assert_close((after + again.delta()) @ keys, (before + edit.delta()) @ keys)


def test_a_strict_batch_is_refused_there_as_it_would_be_here(generator: torch.Generator) -> None:
    statistic = make_statistic(torch.eye(D_IN).double(), layer=3, tokens=1, corpus="none", fingerprint="f")
    one = random(generator, D_IN, 1)
    keys, residual = torch.cat([one, one + 1e-9], 1), random(generator, D_OUT, 2)
    edit = LayerEdit(3, keys, residual, (solve(keys, residual, statistic.metric),))
    weight = random(generator, D_OUT, D_IN)
    with pytest.raises(SingularSolveError):
        rebased(edit, weight, weight, statistic, EditSettings(layers=(3,), mu=0.0, strict=True))
