"""Prefill: runs the prompts of sequences that are about to join the batch, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editing.model.decoder import Decoder
from workers.generation.key_value_cache import KeyValueCache
from workers.generation.model_runner import ModelRunner
from workers.generation.sequences import DecodeSequence, TokenLogprobs, token_logprobs

PREFILL_TOKENS = 512
"""Padded prompt tokens that are run at once: between two such pieces the sequences that are decoded make a step.

Enough to keep a GPU busy; on two slow cores it is about as long as anybody likes to wait for the next token.
"""
LOGPROB_POSITIONS = 64
"""Prompt positions whose logits are in memory at once."""


class Prefill:
    """The sequences of one group, left-padded to one width. Choices of one prompt share its reading.

    Which tokens are run together depends on lengths and numbers of sequences alone, not on their versions.
    """

    def __init__(self, decoder: Decoder, sequences: Sequence[DecodeSequence], model_runner: ModelRunner) -> None:
        self.sequences = list(sequences)
        self._decoder = decoder
        self._model_runner = model_runner
        self._prompt_index: dict[tuple[int, int], int] = {}
        prompts: list[DecodeSequence] = []
        for sequence in sequences:
            if _prompt_of(sequence) not in self._prompt_index:
                self._prompt_index[_prompt_of(sequence)] = len(prompts)
                prompts.append(sequence)
        self._prompts = prompts
        self._width = max(len(sequence.prompt) for sequence in prompts)
        self._tokens, self._positions, self._present = _left_padded(
            [sequence.prompt for sequence in prompts], self._width, decoder.device
        )
        self._micro_batches = model_runner.micro_batches([sequence.matrices for sequence in prompts])
        self._cache = KeyValueCache(len(decoder.layers))
        self._prompt_logprobs: list[list[TokenLogprobs]] = [[] for _ in prompts]
        self._prefilled = 0
        self._last_hidden: Tensor | None = None

    @property
    def is_finished(self) -> bool:
        return self._prefilled == self._width

    def step(self) -> None:
        """Run the next piece: at most `PREFILL_TOKENS` padded tokens, or one of each prompt."""
        start = self._prefilled
        end = min(self._width, start + max(1, PREFILL_TOKENS // len(self._prompts)))
        self._cache.extend(self._present[:, start:end])
        tokens, positions = self._tokens[:, start:end], self._positions[:, start:end]
        hidden = self._model_runner.stream(tokens, positions, self._cache, self._micro_batches)
        for number, sequence in enumerate(self._prompts):
            if sequence.request.tells_prompts:
                self._add_logprobs(number, sequence, hidden[number], start)
        self._prefilled, self._last_hidden = end, hidden[:, -1]

    def outcome(self, sequences: Sequence[DecodeSequence]) -> tuple[Tensor, list[list[TokenLogprobs]]]:
        """For each of `sequences` the logits (sequences, vocabulary) after its prompt, float32, and its tokens'
        log-probabilities."""
        assert self._last_hidden is not None
        indices = [self._prompt_index[_prompt_of(sequence)] for sequence in sequences]
        logits = self._decoder.logits(self._last_hidden).float()
        return logits[indices], [self._prompt_logprobs[index] for index in indices]

    def cache_of(self, sequences: Sequence[DecodeSequence]) -> KeyValueCache:
        """The cache of `sequences` alone, each with its prompt's keys and values. Asked for once, at the end."""
        indices = [self._prompt_index[_prompt_of(sequence)] for sequence in sequences]
        if indices != list(range(len(self._prompts))):
            self._cache.select(indices)
        return self._cache

    def _add_logprobs(self, number: int, sequence: DecodeSequence, hidden: Tensor, start: int) -> None:
        """The log-probabilities of those tokens of a prompt that follow the slots of `hidden` (T, d_out)."""
        assert sequence.request.logprobs is not None
        offset = self._width - len(sequence.prompt)
        first, last = max(start, offset), min(start + hidden.shape[0], self._width - 1)
        for slot in range(first, last, LOGPROB_POSITIONS):
            until = min(slot + LOGPROB_POSITIONS, last)
            logits = self._decoder.logits(hidden[slot - start : until - start]).float()
            following = sequence.prompt[slot + 1 - offset : until + 1 - offset]
            self._prompt_logprobs[number] += token_logprobs(logits, following, sequence.request.logprobs)


def _prompt_of(sequence: DecodeSequence) -> tuple[int, int]:
    return id(sequence.request), sequence.prompt_number


def _left_padded(prompts: Sequence[Sequence[int]], width: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, position ids and which tokens are real, each (sequences, width)."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    present = torch.arange(width, device=device) >= (width - lengths)[:, None]
    tokens = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    positions = (present.long().cumsum(1) - 1).clamp(min=0)
    return tokens, positions, present
