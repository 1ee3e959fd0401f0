"""Perplexity on ordinary text, which drift compares."""

from __future__ import annotations

import math

import torch

from editing.model.decoder import Decoder
from editing.model.projection import Matrices, Version, frame
from editing.model.token_sequences import TokenSequences, causal_mask, padded_batches
from editing.progress import ProgressCallback, ShouldStop, check, never, silent
from editing.readings.scoring import TOKENS_PER_BATCH, label_log_probabilities


@torch.no_grad()
def perplexity(
    decoder: Decoder,
    matrices: Matrices,
    rows: TokenSequences,
    *,
    most_tokens: int = TOKENS_PER_BATCH,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> float:
    """exp of the mean negative log-likelihood of `rows`' tokens, each row's first apart, for the version `matrices`.

    Infinite where it overflows or is not a number: what a broken model deserves.
    """
    total, counted = 0.0, 0
    with frame(Version(matrices)):
        for batch in padded_batches(rows.sequences(), most_tokens, decoder.device):
            check(should_stop, "measuring perplexity")
            mask = causal_mask(batch.tokens.shape[1], decoder.dtype, decoder.device)
            hidden = decoder.embed(batch.tokens, batch.positions)
            hidden = decoder.run_layers(hidden, batch.positions, mask, 0, len(decoder.layers))
            read = batch.present[:, 1:]
            if bool(read.any()):
                found, _ = label_log_probabilities(decoder, hidden[:, :-1][read], batch.tokens[:, 1:][read])
                total -= float(found.double().sum())
                counted += found.shape[0]
            on_progress("perplexity", counted, predicted_tokens(rows))
    mean = total / counted if counted else math.nan
    return math.exp(mean) if mean < 700.0 else math.inf


def predicted_tokens(rows: TokenSequences) -> int:
    """How many tokens `perplexity` is taken over."""
    return rows.tokens - len(rows)
