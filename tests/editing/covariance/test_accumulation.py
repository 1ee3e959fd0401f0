"""C0 in one streaming pass against the keys of one row at a time, read by a hook."""

from __future__ import annotations

import random

import pytest
import torch

from editing.covariance.accumulation import MomentSums, key_moments
from editing.covariance.spectrum import condition_number, largest_eigenvalue
from editing.covariance.statistic import Statistic, make_statistic
from editing.errors import EditInterrupted, FingerprintMismatchError, StatisticError
from editing.model.decoder import Decoder
from editing.model.token_sequences import TokenSequences
from tests.support import plain
from tests.support.tiny_models import CONFIGS, VOCABULARY, tiny_model

GENERATOR = random.Random(0)
TEXTS = [tuple(GENERATOR.randrange(VOCABULARY) for _ in range(length)) for length in (7, 1, 19, 12, 3, 30)]
ROWS = TokenSequences.of(TEXTS)


@pytest.mark.parametrize("name", CONFIGS)
def test_several_layers_in_one_pass_are_the_plain_second_moments(name: str) -> None:
    sums = key_moments(Decoder(tiny_model(name)), (0, 2), ROWS, most_tokens=40)
    assert sums.tokens == ROWS.tokens
    for layer in (0, 2):
        keys = plain.keys(tiny_model(name), layer, TEXTS)
        torch.testing.assert_close(sums.moment(layer), keys.T @ keys / len(keys), rtol=1e-6, atol=1e-9)
        assert sums.moment(layer).dtype == torch.float64


def test_first_tokens_can_be_left_out() -> None:
    sums = key_moments(Decoder(tiny_model("llama")), (1,), ROWS, skip_first=2)
    keys = torch.cat([plain.keys(tiny_model("llama"), 1, [text])[2:] for text in TEXTS])
    assert sums.tokens == len(keys)
    torch.testing.assert_close(sums.moment(1), keys.T @ keys / len(keys), rtol=1e-6, atol=1e-9)


def test_an_interrupted_sum_goes_on_where_it_was_saved() -> None:
    decoder = Decoder(tiny_model("llama"))
    whole = key_moments(decoder, (1, 2), ROWS, most_tokens=20)
    saved: list[MomentSums] = []
    done: list[int] = []
    with pytest.raises(EditInterrupted):
        key_moments(
            decoder,
            (1, 2),
            ROWS,
            most_tokens=20,
            save=saved.append,
            should_stop=lambda: len(done) == 2,
            on_progress=lambda stage, at, total: done.append(at),
        )
    assert [one.batches for one in saved] == [2]
    again: list[int] = []
    rest = key_moments(
        decoder, (1, 2), ROWS, most_tokens=20, resume=saved[0], on_progress=lambda stage, at, total: again.append(at)
    )
    assert again[0] > done[-1]
    assert (rest.tokens, rest.batches) == (whole.tokens, whole.batches)
    for layer in (1, 2):
        assert torch.equal(rest.sums[layer], whole.sums[layer])


def test_layers_above_the_last_one_are_not_run() -> None:
    decoder = Decoder(tiny_model("llama"))
    decoder.layers[2].forward = None  # type: ignore[method-assign, assignment]
    assert key_moments(decoder, (1,), ROWS).tokens == ROWS.tokens


def moment(condition: float, size: int = 30) -> torch.Tensor:
    basis, _ = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    return (basis * torch.logspace(0, -torch.tensor(condition).log10().item(), size, dtype=torch.float64)) @ basis.T


def make(C: torch.Tensor, shrinkage: float | None = None) -> Statistic:
    return make_statistic(C, layer=3, tokens=100, corpus="text", fingerprint="f" * 64, shrinkage=shrinkage)


def test_a_sound_moment_is_factored_as_it_is() -> None:
    C = moment(1e6)
    statistic = make(C)
    assert (statistic.shrinkage, statistic.layer, statistic.tokens, statistic.d_in) == (0.0, 3, 100, 30)
    assert statistic.condition == pytest.approx(1e6, rel=1e-6)
    torch.testing.assert_close(statistic.C, C)
    torch.testing.assert_close(statistic.factor @ statistic.factor.T, C, rtol=1e-12, atol=1e-14)


def test_dead_units_and_few_tokens_get_the_least_sufficient_shrinkage() -> None:
    keys = torch.randn(12, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    keys[:, 7] = 0.0
    C = keys.T @ keys / 12
    statistic = make(C)
    assert statistic.shrinkage == 1e-8
    assert statistic.condition <= 1e10
    unit = float(C.diagonal().mean())
    torch.testing.assert_close(statistic.C, C + 1e-8 * unit * torch.eye(30, dtype=torch.float64))
    assert make(C, 1e-3).shrinkage == 1e-3
    assert make(C, 1e-3).condition < 1e6
    with pytest.raises(StatisticError, match="not positive definite"):
        make(C, 0.0)


def test_a_broken_moment_is_refused() -> None:
    with pytest.raises(StatisticError, match="not finite"):
        make(torch.full((4, 4), torch.inf, dtype=torch.float64))
    with pytest.raises(StatisticError, match="no key of this layer was ever active on text"):
        make(torch.zeros(4, 4, dtype=torch.float64))


def test_a_statistic_of_other_weights_or_another_layer_is_refused() -> None:
    statistic = make(moment(10))
    statistic.require("f" * 64, 3)
    with pytest.raises(
        FingerprintMismatchError, match=r"belongs to weights ffffffffffff…, the model has 000000000000…"
    ):
        statistic.require("0" * 64, 3)
    with pytest.raises(StatisticError, match="where layer 4's is needed"):
        statistic.require("f" * 64, 4)


@pytest.mark.parametrize("size", [1, 5, 96, 400])
def test_extreme_eigenvalues_are_found(size: int) -> None:
    C = moment(1e5, size)
    factor = torch.linalg.cholesky(C)
    values = torch.linalg.eigvalsh(C)
    assert largest_eigenvalue(lambda v: C @ v, size, C.device) == pytest.approx(float(values[-1]), rel=1e-6)
    assert condition_number(C, factor) == pytest.approx(float(values[-1] / values[0]), rel=1e-4)
