"""A worker on every device that this machine has: batches become versions there, and rows keep their bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from api_schemas.facts import Fact
from configuration.redis.generation_messages import GenerationRequest, TokensEvent
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from tests.support.devices import DEVICES
from tests.support.saved_models import CONFIGS as SAVED
from tests.support.saved_models import facts
from tests.support.tiny_models import CONFIGS, tiny_model, tiny_tokenizer
from tests.workers.conftest import Loaded, Place, opened
from tests.workers.generation.test_running_batch import joined, played
from workers.generation.running_batch import RunningBatch
from workers.generation.sequences import DecodeSequence
from workers.process.capacity import measure_tokens_per_second
from workers.weights.matrix_bits import matrix_hash

TOKENIZER = tiny_tokenizer()
LOOSE = {"EM": 0.0, "drift": 100.0}

pytestmark = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(params=sorted(SAVED))
def place(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str, load: Callable[..., Loaded], device: str
) -> Iterator[Place]:
    with opened(load(request.param, device), tmp_path, database_url) as opened_place:
        yield opened_place


def test_batches_become_versions_that_another_worker_makes_alike(place: Place) -> None:
    first, second = (place.edit(facts(number, first=first), thresholds=LOOSE) for first, number in ((0, 4), (4, 3)))
    assert (first.state, first.error) == (second.state, second.error) == ("succeeded", None)
    wanted = [Fact.model_validate(one) for one in facts(4)]
    v1, v2 = place.cache().get(1), place.cache().get(2)
    for number, matrices in ((1, v1), (2, v2)):
        assert {str(layer): matrix_hash(matrix) for layer, matrix in matrices.items()} == (
            place.version(number).matrix_hashes
        )
    said, before = (place.loaded.measuring.measure(matrices, wanted, ("EM",))["EM"].value for matrices in (v1, {}))
    assert said is not None
    assert before is not None
    assert said > before
    assert measure_tokens_per_second(place.loaded.model.decoder) > 0


def bits(
    decoder: Decoder, versions: list[Matrices], asked: GenerationRequest
) -> dict[int, list[tuple[int, float | None]]]:
    """Tokens and log-probabilities of each row, row n on `versions[n % len(versions)]`."""
    batch = RunningBatch(decoder, TOKENIZER, frozenset())
    rows = [DecodeSequence(asked, n, versions[n % len(versions)], TOKENIZER) for n in range(len(asked.prompts))]
    events = joined(batch, rows) + played(batch)
    found: dict[int, list[tuple[int, float | None]]] = {}
    for row, own in events:
        tokens = [info for event in own if isinstance(event, TokensEvent) for info in event.tokens]
        found.setdefault(row.choice, []).extend((info.id, info.logprob) for info in tokens)
    return found


@pytest.mark.parametrize("versions", [3, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CONFIGS)
def test_rows_of_many_versions_get_the_bits_of_the_same_batch_merged(
    device: str, name: str, dtype: torch.dtype, versions: int
) -> None:
    decoder = Decoder(tiny_model(name, dtype).to(device))
    torch.manual_seed(1)
    known: list[Matrices] = [{}]
    for _ in range(versions - 1):
        weights = {layer: decoder.projections[layer].weight.detach() for layer in (1, 2)}
        known.append({layer: weight + torch.randn_like(weight) for layer, weight in weights.items()})
    prompts = [TOKENIZER.encode(text).ids for text in ("The mother tongue of", "Lyon", "Toko Yasuda plays the guitar")]
    asked = GenerationRequest(
        id="r",
        model="tiny",
        version=0,
        prompts=[prompts[n % 3] for n in range(17)],
        max_tokens=4,
        temperature=0,
        logprobs=1,
        deadline=time.time() + 60,
    )
    mixed = bits(decoder, known, asked)
    for number, matrices in enumerate(known):
        merged = bits(decoder, [matrices], asked)
        for row in range(number, 17, versions):
            assert mixed[row] == merged[row]
