"""Keys at the tokens of prompts and their answers: the projection's inputs there, in a run of a given version.

A token's key depends on the tokens up to it alone, so texts that begin alike share keys, and where every token's output
is another version's, so is everything that follows from it: with the outputs of all of a prompt's and its answers'
tokens put back, the answers are those of the other version, whatever else a layer's matrix does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from api_schemas.facts import Fact
from editing.model.decoder import Decoder
from editing.model.projection import Matrices, Recorder, Version, frame
from editing.model.token_sequences import causal_mask, padded_batches
from editing.subjects import fact_tokens, target_tokens

TokenPrefix = tuple[int, ...]
"""Token ids of a text up to and including a token: what that token's key is made of."""

TOKENS_PER_BATCH = 2048


@dataclass(frozen=True)
class AnswerTokens:
    """A fact's prompt with each of its targets, and where in them the subject's last token stands."""

    texts: tuple[tuple[int, ...], ...]
    subject_last: int

    @property
    def subject(self) -> TokenPrefix:
        """Up to the subject's last token."""
        return self.texts[0][: self.subject_last + 1]

    def prefixes(self, first: int = 0) -> Iterator[TokenPrefix]:
        """Of every token from `first` on that an answer is read after."""
        for text in self.texts:
            for stop in range(first + 1, len(text) + 1):
                yield text[:stop]


def answer_tokens(tokenizer: Tokenizer, fact: Fact) -> AnswerTokens:
    """As the answers are read: a target's last token is read after, not run. Raises FactTokensError."""
    bare = fact_tokens(tokenizer, fact).bare
    targets = [target for target in (fact.target_new, fact.target_old) if target is not None]
    split = [target_tokens(tokenizer, fact.text, target) for target in targets]
    texts = [bare.prompt, *(prompt + answer[:-1] for prompt, answer in split)]
    return AnswerTokens(tuple(dict.fromkeys(texts)), bare.subject_last)


@torch.no_grad()
def keys_at(decoder: Decoder, matrices: Matrices, prefixes: Collection[TokenPrefix], layer: int) -> Tensor:
    """Keys (d_in, n) at `layer`, of the last token of each of `prefixes`, in their order, in the version `matrices`.

    Float32, or float64 where the model is. Every text is run once, whatever prefixes of it are asked for.
    """
    column_of = {prefix: number for number, prefix in enumerate(dict.fromkeys(prefixes))}
    texts = _maximal(column_of)
    width = decoder.projections[layer].d_in
    dtype = torch.promote_types(decoder.dtype, torch.float32)
    keys = torch.zeros(width, len(column_of), dtype=dtype, device=decoder.device)
    sequences = [torch.tensor(text, dtype=torch.int32) for text in texts]
    for batch in padded_batches(sequences, TOKENS_PER_BATCH, decoder.device):
        recorder = Recorder(frozenset({layer}), Version(matrices))
        with frame(recorder):
            mask = causal_mask(batch.tokens.shape[1], decoder.dtype, decoder.device)
            decoder.run_layers(decoder.embed(batch.tokens, batch.positions), batch.positions, mask, 0, layer + 1)
        for slot, number in enumerate(batch.index.tolist()):
            text = texts[number]
            for stop in range(1, len(text) + 1):
                column = column_of.get(text[:stop])
                if column is not None:
                    keys[:, column] = recorder.inputs[layer][slot, stop - 1].to(dtype)
    return keys


def _maximal(prefixes: Collection[TokenPrefix]) -> Sequence[TokenPrefix]:
    """Those of `prefixes` that no other one begins with: a text begins with the one before it, in order."""
    ordered = sorted(prefixes)
    return [
        prefix
        for number, prefix in enumerate(ordered)
        if number + 1 == len(ordered) or ordered[number + 1][: len(prefix)] != prefix
    ]
