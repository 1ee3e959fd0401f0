"""Keys and states while layers change from below: those of whole passes, bit by bit."""

from __future__ import annotations

import pytest
import torch

from editing.model.decoder import Decoder
from editing.solve.layers import changed
from editing.values.keys import subject_states
from editing.values.rising import RisingStates
from tests.support.tiny_models import SPREADABLE, tiny_contexts, tiny_groups, tiny_model, tiny_tokenizer


@pytest.mark.parametrize("kept", [2**30, 0], ids=["kept", "too-large"])
@pytest.mark.parametrize("with_contexts", [True, False])
@pytest.mark.parametrize("name", SPREADABLE)
def test_they_are_those_of_whole_passes(
    name: str, with_contexts: bool, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editing.values.rising.MOST_KEPT_BYTES", kept)
    monkeypatch.setattr("editing.values.lower_run.TOKENS_AT_ONCE", {"cpu": 48})  # several batches
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model(name))
    groups = tiny_groups(tokenizer)
    contexts = tiny_contexts(tokenizer) if with_contexts else ()
    generator = torch.Generator().manual_seed(1)
    matrices: dict[int, torch.Tensor] = {}
    rising = RisingStates(decoder, groups, contexts, 2)
    for layer in (0, 1, 2):
        for _ in range(2):  # asked for again, it is the same
            now, whole = rising.at(matrices, layer), subject_states(decoder, matrices, groups, contexts, [layer], 2)
            assert torch.equal(now.keys[layer], whole.keys[layer])
            assert torch.equal(now.stream, whole.stream)
        projection = decoder.projections[layer]
        delta = torch.randn(projection.d_out, projection.d_in, dtype=torch.float64, generator=generator)
        matrices[layer] = changed(projection, None, 0.1 * delta)


def test_a_layer_below_one_that_was_reached_is_refused() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(tiny_model("llama"))
    rising = RisingStates(decoder, tiny_groups(tokenizer), tiny_contexts(tokenizer), 2)
    rising.at({}, 1)
    with pytest.raises(ValueError, match="layer 0 lies below layer 1"):
        rising.at({}, 0)
