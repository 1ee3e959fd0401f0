"""Rows run side by side say what they say together, to the bit whatever their versions are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.projection import Matrices, RowVersions
from tests.support.tiny_models import CONFIGS, tiny_model
from tests.workers.generation.test_running_batch import (
    PROMPTS,
    TOKENIZER,
    greedy,
    joined,
    play,
    played,
    request,
    rows_of,
    run,
    tokens_by_row,
)
from workers.generation import key_value_cache, model_runner
from workers.generation.model_runner import FEWEST_SEQUENCES, ModelRunner
from workers.generation.running_batch import RunningBatch
from workers.generation.sequences import DecodeSequence


@pytest.fixture(autouse=True)
def four_cores() -> Iterator[None]:
    """On any machine; PyTorch does not ask whether there are so many."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ran_by(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Of each pass the thread, and its rows."""
    found: list[tuple[str, int]] = []
    embed = Decoder.embed

    def watched(decoder: Decoder, tokens: Tensor, positions: Tensor) -> Tensor:
        found.append((threading.current_thread().name, len(tokens)))
        return embed(decoder, tokens, positions)

    monkeypatch.setattr(Decoder, "embed", watched)
    return found


@pytest.mark.parametrize(
    ("rows", "parts"), [(1, [1]), (15, [15]), (16, [8, 8]), (31, [15, 16]), (32, [8] * 4), (70, [17, 18, 17, 18])]
)
def test_rows_are_parted_where_there_are_enough(rows: int, parts: list[int]) -> None:
    runner = ModelRunner(Decoder(tiny_model("llama")), RowVersions)
    found = runner.micro_batches([{} for _ in range(rows)])
    assert [part.last - part.first for part in found] == parts
    assert [part.first for part in found[1:]] == [part.last for part in found[:-1]]
    assert (found[0].first, found[-1].last) == (0, rows)


def test_a_wide_model_and_a_single_core_run_all_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(tiny_model("llama"))
    torch.set_num_threads(1)
    assert len(ModelRunner(decoder, RowVersions).micro_batches([{}] * 32)) == 1
    torch.set_num_threads(4)
    monkeypatch.setattr(model_runner, "WIDEST", decoder.projections[0].d_out - 1)
    assert len(ModelRunner(decoder, RowVersions).micro_batches([{}] * 32)) == 1


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_each_row_says_what_the_model_says_to_it_alone(
    name: str, ran_by: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows come and go, so that they are parted in four, in two and not at all, and the cache grows meanwhile."""
    monkeypatch.setattr(key_value_cache, "GROWTH", 8)
    plain = tiny_model(name)
    batch = RunningBatch(Decoder(plain), TOKENIZER, frozenset())
    lengths = [20 if n % 4 == 0 else 3 + n % 5 for n in range(34)]
    rows = [
        rows_of(request(prompts=[PROMPTS[n % 3]], max_tokens=most, logprobs=0))[0] for n, most in enumerate(lengths)
    ]
    events = joined(batch, rows[:32])
    events += batch.step()
    events += joined(batch, rows[32:])
    found = tokens_by_row(events + played(batch))
    batch.close()
    said = [greedy(plain, prompt, 20) for prompt in PROMPTS]
    for number, row in enumerate(rows):
        ids, values = (told[: lengths[number]] for told in said[number % 3])
        assert [event.tokens[0].id for event in found[row]] == ids
        assert [event.tokens[0].logprob for event in found[row]] == pytest.approx(values, abs=1e-5)
    assert {rows for _, rows in ran_by} >= {8, 9, 2}
    threads = {thread for thread, rows in ran_by if rows == FEWEST_SEQUENCES}
    assert len(threads) > 1
    assert threading.current_thread().name not in threads


@pytest.mark.parametrize("versions", [3, 16])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gptj", "gemma2"])
def test_rows_of_many_versions_get_the_bits_of_the_same_batch_merged(name: str, versions: int) -> None:
    batch = RunningBatch(Decoder(tiny_model(name, torch.float32)), TOKENIZER, frozenset())
    weight = batch.decoder.projections[2].weight
    torch.manual_seed(1)
    known = [weight.detach() + number * torch.randn_like(weight) for number in range(versions)]
    asked = request(prompts=[PROMPTS[n % 3] for n in range(33)], logprobs=3, max_tokens=4)
    of_row: list[Matrices] = [{2: known[choice % versions]} for choice in range(33)]
    rows = [DecodeSequence(asked, choice, matrices, TOKENIZER) for choice, matrices in enumerate(of_row)]
    mixed = tokens_by_row(play(batch, rows))
    for version, matrix in enumerate(known):
        with torch.no_grad():
            weight.copy_(matrix)
        merged = run(batch, asked)
        for row in rows[version::versions]:
            assert mixed[row] == merged[row.choice]
    batch.close()


def test_an_error_of_one_pass_is_told_when_the_others_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = RunningBatch(Decoder(tiny_model("llama")), TOKENIZER, frozenset())
    rows = rows_of(request(n=10))
    joined(batch, rows)
    others = 0
    run_layers = Decoder.run_layers
    both_run = threading.Barrier(2, timeout=60)

    def broken(decoder: Decoder, hidden: Tensor, *rest: object) -> Tensor:
        nonlocal others
        both_run.wait()
        if threading.current_thread().name.endswith("_0"):
            raise torch.OutOfMemoryError("no room")
        time.sleep(0.3)
        others += 1
        return run_layers(decoder, hidden, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as breaking:
        breaking.setattr(Decoder, "run_layers", broken)
        with pytest.raises(torch.OutOfMemoryError):
            batch.step()
    assert others == 1
    batch.leave(lambda _: True)
    assert len(run(batch, request(n=10))) == 30
    batch.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pass")]
    assert len(run(batch, request(n=10))) == 30
    batch.close()
