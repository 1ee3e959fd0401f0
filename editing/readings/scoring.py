"""How probable a version finds given answers after given prompts, teacher-forced, many prompts at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.projection import Matrices, frame, frame_of, lowest_layer
from editing.model.token_sequences import padded_batches
from editing.progress import ProgressCallback, ShouldStop, check, never, silent
from editing.readings.observations import AnswerScore

TOKENS_PER_BATCH = 2048
READS_PER_CHUNK = 512
_PROMPT = 0


@dataclass(frozen=True)
class Question:
    """A prompt in tokens (at least one) and answers after it, each of at least one token."""

    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]


def score(
    decoder: Decoder,
    matrices: Matrices,
    questions: Sequence[Question],
    *,
    most_tokens: int = TOKENS_PER_BATCH,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> list[tuple[AnswerScore, ...]]:
    """The scores of every question's answers, in their order, for the version `matrices`."""
    (scores,) = score_versions(
        decoder, [matrices], questions, most_tokens=most_tokens, on_progress=on_progress, should_stop=should_stop
    )
    return scores


@torch.no_grad()
def score_versions(
    decoder: Decoder,
    versions: Sequence[Matrices],
    questions: Sequence[Question],
    *,
    most_tokens: int = TOKENS_PER_BATCH,
    on_progress: ProgressCallback = silent,
    should_stop: ShouldStop = never,
) -> list[list[tuple[AnswerScore, ...]]]:
    """For each of `versions` the scores of every question's answers, in their order.

    All answers of a question stand in one row after their prompt, which so runs once; the mask keeps them from seeing
    one another, and their positions all begin where the prompt ends. Logits are computed where an answer is read only.
    Of several versions, what lies below their edited layers runs once, and the rest side by side.
    """
    rows = [torch.tensor(_row_of(question), dtype=torch.int32) for question in questions]
    scores: list[list[tuple[AnswerScore, ...]]] = [[()] * len(questions) for _ in versions]
    shared = lowest_layer(versions) if len(versions) > 1 else 0
    done = 0
    for batch in padded_batches(rows, most_tokens // len(versions), decoder.device):
        check(should_stop, "scoring")
        members = [questions[number] for number in batch.index.tolist()]
        parts = torch.full(batch.tokens.shape, -1)
        positions = batch.positions.clone()
        for slot, question in enumerate(members):
            for part, start, stop in _parts(question):
                parts[slot, start:stop] = part
                if part != _PROMPT:
                    positions[slot, start:stop] = torch.arange(stop - start) + len(question.prompt)
        mask = _answers_apart(parts.to(decoder.device), decoder.dtype)
        hidden = decoder.embed(batch.tokens, positions)
        with frame(frame_of([matrices for matrices in versions for _ in members])):
            if shared:
                hidden = decoder.run_layers(hidden, positions, mask, 0, shared)
            if len(versions) > 1:
                hidden, mask = (tensor.repeat(len(versions), 1, *[1] * (tensor.ndim - 2)) for tensor in (hidden, mask))
                positions = positions.repeat(len(versions), 1)
            hidden = decoder.run_layers(hidden, positions, mask, shared, len(decoder.layers))
        for of_version, of_members in zip(scores, hidden.chunk(len(versions)), strict=True):
            for number, of_question in zip(batch.index.tolist(), _read(decoder, of_members, members), strict=True):
                of_version[number] = of_question
        done += len(members)
        on_progress("score", done, len(questions))
    return scores


def label_log_probabilities(decoder: Decoder, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """log p of `labels` (n,) at the final stream `hidden` (n, d_out), and the argmax in each one's place (n,) int64.

    In float32, or in the model's dtype where that is finer; a few hundred rows of the vocabulary at a time.
    """
    log_probabilities, predicted = [], []
    for part, wanted in zip(hidden.split(READS_PER_CHUNK), labels.split(READS_PER_CHUNK), strict=True):
        logits = decoder.logits(part)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        log_probabilities.append(logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(-1))
        predicted.append(logits.argmax(-1))
    return torch.cat(log_probabilities), torch.cat(predicted)


def _row_of(question: Question) -> list[int]:
    """The prompt, then each answer without its last token, which nothing reads."""
    if not question.prompt or not question.answers or not all(question.answers):
        raise ValueError("a question has a prompt and answers of at least one token each")
    return [*question.prompt, *(token for answer in question.answers for token in answer[:-1])]


def _parts(question: Question) -> Iterator[tuple[int, int, int]]:
    """(part, start, stop) of the prompt (part 0) and of each answer (1, 2, …) in the question's row."""
    stop = len(question.prompt)
    yield _PROMPT, 0, stop
    for part, answer in enumerate(question.answers, start=1):
        start, stop = stop, stop + len(answer) - 1
        yield part, start, stop


def _answers_apart(parts: Tensor, dtype: torch.dtype) -> Tensor:
    """The additive mask (rows, 1, T, T): a token sees its own part and the prompt, as far as they stand before it.

    `parts` (rows, T) is 0 for the prompt, 1, 2, … for answers, -1 for padding, which sees padding only.
    """
    seen = (parts[:, None, :] == parts[:, :, None]) | ((parts == _PROMPT)[:, None, :] & (parts >= 0)[:, :, None])
    mask = torch.zeros(seen.shape, dtype=dtype, device=parts.device)
    return mask.masked_fill_(~seen.tril_(), torch.finfo(dtype).min)[:, None]


def _read(decoder: Decoder, hidden: Tensor, questions: Sequence[Question]) -> list[tuple[AnswerScore, ...]]:
    """Scores of a batch's questions from the final stream (rows, T, d_out)."""
    slots: list[tuple[int, int]] = []
    labels: list[int] = []
    for row, question in enumerate(questions):
        for (_, start, stop), answer in zip(list(_parts(question))[1:], question.answers, strict=True):
            slots += [(row, len(question.prompt) - 1), *((row, slot) for slot in range(start, stop))]
            labels += answer
    where = torch.tensor(slots, device=hidden.device)
    wanted = torch.tensor(labels, device=hidden.device)
    log_probabilities, predicted = label_log_probabilities(decoder, hidden[where[:, 0], where[:, 1]], wanted)
    lengths = [len(answer) for question in questions for answer in question.answers]
    answers = iter(
        _answer_score(part, best, expected)
        for part, best, expected in zip(
            log_probabilities.cpu().split(lengths),
            predicted.cpu().split(lengths),
            wanted.cpu().split(lengths),
            strict=True,
        )
    )
    return [tuple(next(answers) for _ in question.answers) for question in questions]


def _answer_score(log_probabilities: Tensor, predicted: Tensor, wanted: Tensor) -> AnswerScore:
    """Of one answer's tokens (n,)."""
    hits = int((predicted == wanted).sum())
    mean = float(log_probabilities.double().mean())
    return AnswerScore(mean, hits == wanted.shape[0], hits, tuple(predicted.tolist()))
