"""How probable a version finds ordinary text, which drift compares."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.projection import Matrices, Version, frame
from editing.model.token_sequences import TokenBatch, TokenSequences, causal_mask, padded_batches
from editing.progress import ProgressCallback, ShouldStop, check, never, silent
from editing.readings.observations import HeldOutReading
from editing.readings.scoring import TOKENS_PER_BATCH, label_log_probabilities


@torch.no_grad()
def held_out_reading(
    decoder: Decoder,
    matrices: Matrices,
    rows: TokenSequences,
    *,
    most_tokens: int = TOKENS_PER_BATCH,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> HeldOutReading:
    """The log-likelihood of each of `rows` under the version `matrices`, its first token apart, which nothing predicts.

    Rows are summed in float64; they are in their order, those of one token with a sum of 0 over 0 tokens.
    """
    sums = torch.zeros(len(rows), dtype=torch.float64)
    counts = [max(0, length - 1) for length in rows.lengths.tolist()]
    done = 0
    with frame(Version(matrices)):
        for batch in padded_batches(rows.sequences(), most_tokens, decoder.device):
            check(should_stop, "measuring perplexity")
            mask = causal_mask(batch.tokens.shape[1], decoder.dtype, decoder.device)
            hidden = decoder.embed(batch.tokens, batch.positions)
            hidden = decoder.run_layers(hidden, batch.positions, mask, 0, len(decoder.layers))
            done += add_log_likelihoods(decoder, hidden, batch, sums)
            on_progress("perplexity", done, predicted_tokens(rows))
    return HeldOutReading(tuple(sums.tolist()), tuple(counts))


def add_log_likelihoods(decoder: Decoder, hidden: Tensor, batch: TokenBatch, sums: Tensor) -> int:
    """Add to `sums` (sequences,), float64 on the CPU, what the final stream `hidden` says of each of the batch's
    tokens but the sequences' first; their number."""
    read = batch.present[:, 1:]
    if not bool(read.any()):
        return 0
    found, _ = label_log_probabilities(decoder, hidden[:, :-1][read], batch.tokens[:, 1:][read])
    sums.index_add_(0, batch.index.repeat_interleave(read.sum(1).cpu()), found.double().cpu())
    return int(found.shape[0])


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
    reading = held_out_reading(
        decoder, matrices, rows, most_tokens=most_tokens, on_progress=on_progress, should_stop=should_stop
    )
    counted = sum(reading.tokens)
    mean = -math.fsum(reading.log_likelihoods) / counted if counted else math.nan
    return math.exp(mean) if mean < 700.0 else math.inf


def predicted_tokens(rows: TokenSequences) -> int:
    """How many tokens the log-likelihood is taken over."""
    return rows.tokens - len(rows)
