"""A head in pieces gives what it gives as a whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from editing.model.head import PIECE, through_head

VOCABULARY = 2 * PIECE + 17


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of the weight of each product."""
    made: list[int] = []
    linear = functional.linear

    def watched(vectors: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        made.append(len(weight))
        return linear(vectors, weight, bias)

    monkeypatch.setattr(functional, "linear", watched)
    return made


def head(dtype: torch.dtype = torch.float32, *, bias: bool = False) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(24, VOCABULARY, bias=bias, dtype=dtype).requires_grad_(False)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(8,), (2, 4), (64,)])
def test_a_few_vectors_go_in_pieces(shape: tuple[int, ...], bias: bool, products: list[int]) -> None:
    whole, vectors = head(bias=bias), torch.randn(*shape, 24)
    found = through_head(whole, vectors)
    assert products == [PIECE, PIECE, 17]
    exact = vectors.double() @ whole.weight.double().T + (whole.bias.double() if bias else 0)
    assert found.shape == (*shape, VOCABULARY)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("vectors", [torch.ones(7, 24), torch.ones(65, 24), torch.ones(8, 24, dtype=torch.float64)])
def test_others_go_through_it_as_a_whole(vectors: Tensor, products: list[int]) -> None:
    whole = head(vectors.dtype)
    assert through_head(whole, vectors).equal(whole(vectors))
    assert products == [VOCABULARY, VOCABULARY]


def test_a_gradient_is_that_of_the_whole(products: list[int]) -> None:
    vectors = torch.randn(8, 24, requires_grad=True)
    through_head(head(), vectors).sum().backward()
    assert products == [VOCABULARY]
    torch.testing.assert_close(vectors.grad, head().weight.sum(0).expand(8, 24), rtol=1e-5, atol=1e-4)
