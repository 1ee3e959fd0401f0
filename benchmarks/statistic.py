"""What C0 costs beside the forward pass that it needs: both over the same text, by turns in one run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from editing.covariance.accumulation import TOKENS_PER_BATCH, key_moments
from editing.covariance.statistic import make_statistic
from editing.methods import recommended_layers
from editing.model.decoder import Decoder
from editing.model.loading import load_model
from editing.model.projection import frame
from editing.model.token_sequences import TokenSequences, causal_mask, padded_batches
from editing.progress import ProgressCallback, silent
from editing.sources.default_model import DEFAULT_MODEL

ROW_TOKENS = 128
TURNS = 3


def run(
    *,
    model: str = DEFAULT_MODEL,
    data: Path,
    token: str | None = None,
    tokens: int = 16_384,
    turns: int = TURNS,
    on_progress: ProgressCallback = silent,
) -> dict[str, Any]:
    """The second moment at the recommended layer against layers 0 to that one alone, over `tokens` random tokens."""
    loaded = load_model(model, cache=data, token=token, on_progress=on_progress)
    decoder = loaded.decoder
    layer = max(recommended_layers(loaded.shape))
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(decoder.vocabulary, (tokens // ROW_TOKENS, ROW_TOKENS), generator=generator)
    rows = TokenSequences.of(text.tolist())
    some = TokenSequences.of(text[: TOKENS_PER_BATCH // ROW_TOKENS].tolist())
    forward(decoder, layer, some)  # warm-up
    moment = key_moments(decoder, [layer], some).moment(layer)
    plain, ours = [], []
    for turn in range(turns):
        on_progress("plain forward", turn, turns)
        plain.append(_seconds(lambda: forward(decoder, layer, rows)))
        on_progress("C0", turn, turns)
        ours.append(_seconds(lambda: key_moments(decoder, [layer], rows)))
    factor = _seconds(
        lambda: make_statistic(moment, layer=layer, tokens=some.tokens, corpus="", fingerprint="", shrinkage=1e-2)
    )
    return {
        "model": loaded.name,
        "layer": layer,
        "d_in": decoder.projections[layer].d_in,
        "tokens": rows.tokens,
        "threads": torch.get_num_threads(),
        "forward_seconds": plain,
        "statistic_seconds": ours,
        "ratio": sum(ours) / sum(plain),
        "factor_seconds": factor,
    }


def show(result: dict[str, Any]) -> None:
    turns, tokens = len(result["forward_seconds"]), result["tokens"]
    print(f"layer {result['layer']} of {result['model']}, {tokens} tokens, {turns} turns")
    for name in ("forward", "statistic"):
        seconds = sum(result[f"{name}_seconds"]) / turns
        print(f"{name:12} {seconds:8.2f} s {tokens / seconds:10.0f} tokens/s")
    print(f"{'ratio':12} {result['ratio']:8.2f}")
    print(f"{'its factor':12} {result['factor_seconds']:8.2f} s")


@torch.no_grad()
def forward(decoder: Decoder, layer: int, rows: TokenSequences) -> None:
    """Layers 0 to `layer` over `rows`, in the batches that C0 is made in."""
    with frame(None):
        for batch in padded_batches(rows.sequences(), TOKENS_PER_BATCH, decoder.device):
            mask = causal_mask(batch.tokens.shape[1], decoder.dtype, decoder.device)
            hidden = decoder.embed(batch.tokens, batch.positions)
            float(decoder.run_layers(hidden, batch.positions, mask, 0, layer + 1)[0, 0, 0])  # waits for the device


def _seconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
