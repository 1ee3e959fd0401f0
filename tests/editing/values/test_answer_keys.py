"""Keys at a text's tokens are those of transformers' own run; pinned there, an edit leaves the base's answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from api_schemas.facts import Fact
from editing.covariance.key_metric import InverseSecondMoment
from editing.model.decoder import Decoder
from editing.solve.closed_form import solve
from editing.solve.layers import changed
from editing.solve.reverting import Change, RemainingLayer, without_columns
from editing.values.answer_keys import AnswerTokens, TokenPrefix, answer_tokens, keys_at
from tests.support import plain
from tests.support.tiny_models import CONFIGS, FACTS, tiny_model, tiny_tokenizer

ASKED = [
    Fact(
        prompt="The mother tongue of {} is",
        subject="Danielle Darrieux",
        target_new="English or French",
        target_old="Spain or France",
    ),
    Fact(prompt="{} plays the", subject="Toko Yasuda", target_new="piano", target_old="guitar or the piano"),
]


def prefixes(of: list[AnswerTokens]) -> list[TokenPrefix]:
    return list(dict.fromkeys(prefix for one in of for prefix in one.prefixes()))


def test_texts_are_the_prompt_and_what_is_read_of_each_target() -> None:
    tokenizer = tiny_tokenizer(bos=True)
    found = answer_tokens(tokenizer, ASKED[0])
    prompt = tuple(tokenizer.encode(ASKED[0].text).ids)
    new, old = (
        tuple(tokenizer.encode(f"{ASKED[0].text} {target}").ids)
        for target in (ASKED[0].target_new, ASKED[0].target_old)
    )
    assert found.texts == (prompt, new[:-1], old[:-1])
    assert tokenizer.decode(found.subject) == "The mother tongue of Danielle Darrieux"
    assert set(found.prefixes(3)) == {text[:stop] for text in found.texts for stop in range(4, len(text) + 1)}
    assert answer_tokens(tokenizer, FACTS[0]).texts[0] == prompt


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("layer", [0, 2])
def test_keys_are_those_of_the_plain_run_of_the_version(name: str, layer: int) -> None:
    decoder = Decoder(tiny_model(name))
    other = {1: decoder.projections[1].weight.detach() * 1.3}
    wanted = prefixes([answer_tokens(tiny_tokenizer(), one) for one in ASKED])
    found = keys_at(decoder, other, wanted, layer)
    model = plain.merged(tiny_model(name), other)
    expected = torch.stack([plain.keys(model, layer, [one])[-1] for one in wanted], 1)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CONFIGS)
def test_an_edit_pinned_at_every_token_answers_there_as_the_base(name: str) -> None:
    """Several layers too: each one's keys are read through the layers pinned before, and so are the base's."""
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model(name))
    texts = [answer_tokens(tokenizer, one) for one in ASKED]
    matrices: dict[int, Tensor] = {}
    for layer in (1, 2):
        edit, metric = random_edit(layer)
        keys = keys_at(decoder, matrices, prefixes(texts), layer)
        edit, _ = without_columns(edit, [0], metric, keys)
        matrices[layer] = changed(decoder.projections[layer], None, edit.at(torch.eye(48, dtype=torch.float64)))
    base, edited = tiny_model(name), plain.merged(tiny_model(name), matrices)
    for text in (text for one in texts for text in one.texts):
        torch.testing.assert_close(logits(edited, text), logits(base, text), rtol=1e-9, atol=1e-9)
    elsewhere = tuple(tokenizer.encode("Wellington is located in").ids)
    assert float((logits(edited, elsewhere) - logits(base, elsewhere)).abs().max()) > 0.1


def random_edit(layer: int) -> tuple[RemainingLayer, InverseSecondMoment]:
    generator = torch.Generator().manual_seed(layer)
    text = torch.randn(48, 400, dtype=torch.float64, generator=generator)
    keys = torch.randn(48, 5, dtype=torch.float64, generator=generator)
    residual = 3 * torch.randn(32, 5, dtype=torch.float64, generator=generator)
    metric = InverseSecondMoment(torch.linalg.cholesky(text @ text.T / 400))
    solution = solve(keys, residual, metric, mu=2.0)
    assert solution.A is not None
    assert solution.B is not None
    return RemainingLayer(keys, (Change(solution.A, solution.B),)), metric


def logits(model: torch.nn.Module, text: TokenPrefix) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(torch.tensor([text])).logits[0]
    return found
