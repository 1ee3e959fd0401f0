"""Samples the context texts that are put before prompts, so that an edit holds whatever was said before.

They are sampled from the model itself (MEMIT, arXiv 2210.07229, appendix; ROME samples them likewise), and belong to a
version's provenance: given back in, they reproduce its keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from editing.model.decoder import Decoder
from editing.model.decoding import continue_prompts, control_tokens
from editing.model.projection import Matrices, Version, frame
from editing.subjects import ChatForm, chat_opening_tokens, context_tokens

OPENINGS = ("The", "Therefore", "Because", "I", "You")
TOP_K = 5


@dataclass(frozen=True)
class Context:
    """What stands before prompts: a text without its full stop, with the tokens of "text." at the start of a sequence;
    or the opening of chat form number `chat`. `share` is a chat form's share in a group's loss and key."""

    text: str
    tokens: tuple[int, ...]
    chat: int | None = None
    share: float = 0.0


def contexts_from_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Context, ...]:
    """Contexts recorded earlier, in tokens again."""
    return tuple(Context(text, context_tokens(tokenizer, text)) for text in texts)


def chat_contexts(tokenizer: Tokenizer, forms: Sequence[ChatForm], share: float) -> tuple[Context, ...]:
    """The openings of chat `forms`, which together have `share` of a group's loss and key."""
    return tuple(
        Context(form.opening, chat_opening_tokens(tokenizer, form), number, share / len(forms))
        for number, form in enumerate(forms)
    )


def contexts_of(
    tokenizer: Tokenizer, texts: Sequence[str], forms: Sequence[ChatForm], chat_weight: float
) -> tuple[Context, ...]:
    """All that stands before prompts: context texts, and the openings of chat `forms`, which share `chat_weight`."""
    return (*contexts_from_texts(tokenizer, texts), *chat_contexts(tokenizer, forms, chat_weight))


@torch.no_grad()
def sample_contexts(
    decoder: Decoder,
    matrices: Matrices,
    tokenizer: Tokenizer,
    number: int,
    length: int = 10,
    seed: int = 0,
    temperature: float = 1.0,
    top_k: int = TOP_K,
) -> tuple[Context, ...]:
    """Sample `number` texts of `length` tokens (opening included), all at once, from the version `matrices`.

    The same seed gives the same texts on one machine and build. Control tokens are never sampled.
    """
    if number == 0:
        return ()
    generator = torch.Generator().manual_seed(seed)
    control = control_tokens(decoder, tokenizer)
    sequences = [context_opening(tokenizer, OPENINGS[n % len(OPENINGS)]) for n in range(number)]
    starts = [sum(1 for token in sequence if token in control) for sequence in sequences]
    left = [length - (len(sequence) - start) for sequence, start in zip(sequences, starts, strict=True)]
    growing = [n for n in range(number) if left[n] > 0]

    def pick(logits: Tensor, rows: Tensor) -> Tensor:
        logits = logits.double().cpu() / temperature
        logits[:, control] = -torch.inf
        best = logits.topk(min(top_k, logits.shape[1]))
        places = torch.tensor([growing[row] for row in rows.tolist()])
        shares = torch.ones(number, best.values.shape[1], dtype=torch.float64)
        shares[places] = best.values.softmax(-1)
        # Also for texts that are done: what is drawn for one does not depend on the others' lengths.
        drawn = torch.multinomial(shares, 1, generator=generator)[places]
        return best.indices.gather(1, drawn)[:, 0].to(rows.device)

    if growing:
        with frame(Version(matrices)):
            made = continue_prompts(decoder, [sequences[n] for n in growing], [left[n] for n in growing], pick)
        for n, tokens in zip(growing, made, strict=True):
            sequences[n] += tokens
    return contexts_from_texts(tokenizer, [_sentence(tokenizer.decode(sequence)) for sequence in sequences])


def context_opening(tokenizer: Tokenizer, opening: str) -> list[int]:
    """The tokens of an opening word, with the tokenizer's BOS token if it has one and without an EOS token."""
    encoding = tokenizer.encode(opening)
    last = max(n for n, special in enumerate(encoding.special_tokens_mask) if not special)
    return list(encoding.ids[: last + 1])


def _sentence(text: str) -> str:
    """One line, without braces (they mark the subject's place in prompts) and without the full stop to come."""
    return " ".join(text.replace("{", " ").replace("}", " ").split()).rstrip(" .")
