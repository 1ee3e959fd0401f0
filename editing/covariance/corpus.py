"""Corpora of ordinary text as token sequences: one part to measure C0 on, a held-out one to measure drift on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from editing.atomic_files import exclusive, whole_file
from editing.errors import CorpusError
from editing.model.decoding import continue_prompts, stop_tokens
from editing.model.loading import LoadedModel
from editing.model.projection import frame
from editing.model.token_sequences import TokenSequences
from editing.progress import ProgressCallback, ShouldStop, check, never, silent

HELD_OUT_TOKENS = 4096

_SPARE_SEQUENCES = 1.15
"""Sampled sequences end early now and then; this many times the sequences are planned that full ones would need."""


class Corpus(Protocol):
    """Where ordinary text comes from. Each is a small frozen dataclass."""

    @property
    def name(self) -> str:
        """A short description that tells this text from any other, for keys and provenance."""
        ...

    def sequences(
        self, model: LoadedModel, tokens: int, held_out: bool, should_stop: ShouldStop
    ) -> Iterator[Sequence[int]]:
        """Token sequences, the same each time, at least until they hold `tokens` tokens or the text is used up.

        No sequence of the held-out part may be one of the other part, and reading one must not need the other.
        """
        ...


@dataclass(frozen=True)
class Sampled:
    """What was sampled up to the end of a round: `sequences`, and the `state` of the generator that the next begins
    with."""

    sequences: list[list[int]]
    state: Tensor


@dataclass(frozen=True)
class SelfSampled:
    """Text that the model itself makes: from its BOS token, temperature 1, whole vocabulary, up to `length` tokens.

    Serves C0 as well as Wikipedia's text, and needs no data set. At most `batch` sequences are sampled together, which
    bounds the memory.
    """

    seed: int = 0
    length: int = 128
    batch: int = 72

    @property
    def name(self) -> str:
        return f"self-sampled (seed {self.seed}, {self.batch} × {self.length} tokens)"

    def sequences(
        self, model: LoadedModel, tokens: int, held_out: bool, should_stop: ShouldStop
    ) -> Iterator[Sequence[int]]:
        yielded = 0
        for sampled in self.rounds(model, tokens, held_out, should_stop):
            yield from sampled.sequences[yielded:]
            yielded = len(sampled.sequences)

    def rounds(
        self,
        model: LoadedModel,
        tokens: int,
        held_out: bool,
        should_stop: ShouldStop,
        resume_from: Sampled | None = None,
    ) -> Iterator[Sampled]:
        """All that is sampled, after each round. With one of these as `resume_from` the same text goes on from
        there."""
        start = _opening_token(model)
        stop = stop_tokens(model.decoder)
        generator = torch.Generator(device="cpu").manual_seed(2 * self.seed + int(held_out))
        sequences: list[list[int]] = []
        if resume_from is not None:
            sequences = list(resume_from.sequences)
            generator.set_state(resume_from.state)

        def pick(logits: Tensor, _: Tensor) -> Tensor:
            check(should_stop, "sampling text")
            cumulative = logits.double().softmax(-1).cumsum(-1)
            drawn = torch.rand(logits.shape[0], 1, dtype=torch.float64, generator=generator).to(logits.device)
            chosen = torch.searchsorted(cumulative, drawn * cumulative[:, -1:])[:, 0]
            return chosen.clamp_(max=logits.shape[1] - 1)

        left = tokens - sum(map(len, sequences))
        while left > 0:
            expected = math.ceil(
                _SPARE_SEQUENCES * left / self.length
            )  # sequences, in equal rounds: none is sampled for a rest
            together = math.ceil(expected / math.ceil(expected / self.batch))
            lengths = [self.length - 1] * together
            with frame(None):
                sampled = continue_prompts(model.decoder, [[start]] * together, lengths, pick, stop=stop)
            left -= sum(len(sequence) + 1 for sequence in sampled)
            sequences += [[start, *sequence] for sequence in sampled]
            yield Sampled(list(sequences), generator.get_state())


def _opening_token(model: LoadedModel) -> int:
    for token in (model.tokenizer.bos_token_id, model.decoder.config.bos_token_id, model.tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise CorpusError(f"model {model.name} has no BOS or EOS token to sample text from; name a text corpus instead")


def corpus_sequences(
    corpus: Corpus,
    model: LoadedModel,
    tokens: int,
    folder: Path,
    *,
    held_out: bool = False,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> TokenSequences:
    """About `tokens` tokens of `corpus` (all there are, if fewer), kept under `folder` for the next time.

    Sampling that is interrupted, by `should_stop` or a kill, goes on from its last round. Raises CorpusError where
    there is no text at all.
    """
    identity = f"{corpus.name}\n{model.fingerprint}\n{model.tokenizer_fingerprint}\n{tokens}\n{held_out}"
    file = folder / f"rows-{hashlib.sha256(identity.encode()).hexdigest()[:24]}.safetensors"
    with exclusive(file):
        if file.is_file():
            return _read(file)
        part = file.with_name(f"sampled-{file.name}")
        text = corpus.sequences(model, tokens, held_out, should_stop)
        if isinstance(corpus, SelfSampled):
            text = _sampled(corpus, model, tokens, held_out, should_stop, part)
        sequences = TokenSequences.of(_truncated(text, tokens, on_progress, should_stop))
        if len(sequences) == 0:
            raise CorpusError(f"corpus {corpus.name} holds no text{' to hold out' if held_out else ''}; name another")
        with whole_file(file) as unfinished:
            save_file(
                {"flat": sequences.flat, "lengths": sequences.lengths}, unfinished, metadata={"corpus": corpus.name}
            )
        part.unlink(missing_ok=True)
        return sequences


def _truncated(
    text: Iterator[Sequence[int]], tokens: int, on_progress: ProgressCallback, should_stop: ShouldStop
) -> Iterator[Sequence[int]]:
    """The sequences of `text` until they hold `tokens` tokens, the last one cut."""
    read = 0
    for sequence in text:
        check(should_stop, "reading the corpus")
        part_of_sequence = sequence[: tokens - read]
        read += len(part_of_sequence)
        on_progress("text", read, tokens)
        yield part_of_sequence
        if read >= tokens:
            return


def held_out_sequences(
    corpus: Corpus,
    model: LoadedModel,
    folder: Path,
    *,
    tokens: int = HELD_OUT_TOKENS,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> TokenSequences:
    """The part of `corpus` that no statistic is made of, to measure drift on."""
    return corpus_sequences(
        corpus, model, tokens, folder, held_out=True, on_progress=on_progress, should_stop=should_stop
    )


def _sampled(
    corpus: SelfSampled, model: LoadedModel, tokens: int, held_out: bool, should_stop: ShouldStop, part: Path
) -> Iterator[Sequence[int]]:
    """`corpus.sequences`, with what is sampled kept in `part` after each round and gone on from."""
    resume_from = _read_sampled(part) if part.is_file() else None
    yielded = 0
    if resume_from is not None:
        yield from resume_from.sequences
        yielded = len(resume_from.sequences)
    for sampled in corpus.rounds(model, tokens, held_out, should_stop, resume_from):
        sequences = TokenSequences.of(sampled.sequences)
        with whole_file(part) as unfinished:
            save_file({"flat": sequences.flat, "lengths": sequences.lengths, "state": sampled.state}, unfinished)
        yield from sampled.sequences[yielded:]
        yielded = len(sampled.sequences)


def _read_sampled(part: Path) -> Sampled:
    sequences = _read(part)
    with safe_open(str(part), framework="pt") as stored:
        return Sampled([sequence.tolist() for sequence in sequences.sequences()], stored.get_tensor("state"))


def _read(file: Path) -> TokenSequences:
    with safe_open(str(file), framework="pt") as stored:
        return TokenSequences(stored.get_tensor("flat"), stored.get_tensor("lengths"))
