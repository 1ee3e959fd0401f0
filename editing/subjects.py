"""Where a fact's subject and target lie in a model's tokens.

Uses the `tokenizers` library alone, so that the HTTP front end refuses a fact by the very rule that a worker edits by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer

from api_schemas.facts import SUBJECT_SLOT, Fact

_SENTENCE_END = "."
_ESSENCE = " is a"


class FactTokensError(ValueError):
    """A fact that this tokenizer or context length cannot serve. `field` is the fact's field at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


@dataclass(frozen=True)
class PromptTokens:
    """A prompt with its subject in place, and its continuation.

    `subject_last` is the index in `prompt` of the subject's last token, which `is_shared` where it holds punctuation
    after the subject as well. `target` may be empty.
    """

    prompt: tuple[int, ...]
    subject_last: int
    target: tuple[int, ...] = ()
    is_shared: bool = False

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.target)


@dataclass(frozen=True)
class ChatForm:
    """What a model's chat template puts around a user's words: all `before` them, and all `after` them up to where the
    assistant's answer begins. An instruction such as "Complete this sentence:" is part of `before`. `lead` is what the
    template puts between that place and the answer's first word: a space in Llama 2's, nothing in most."""

    before: str
    after: str
    lead: str = ""

    @property
    def opening(self) -> str:
        """`before` without the spaces at its end, which tokenizers make part of the next word."""
        return self.before.rstrip(" ")


@dataclass(frozen=True)
class FactTokens:
    """A fact as the model reads it.

    `bare` is prompt and new target as the tokenizer encodes them at the start of a text (with its BOS token, if it has
    one); `continued` is the same after a sentence, without BOS; `essence` is "{subject} is a" up to the subject's last
    token, where the rest of what is known about the subject is kept (ROME, arXiv 2202.05262, section 3.1). `chat` has
    for each chat form the prompt as a user's words, without the tokens of the form's opening, and the target as the
    assistant's answer.
    """

    bare: PromptTokens
    continued: PromptTokens
    essence: PromptTokens
    chat: tuple[PromptTokens, ...] = ()


def fact_tokens(tokenizer: Tokenizer, fact: Fact, chat_forms: Sequence[ChatForm] = ()) -> FactTokens:
    """Find `fact`'s subject and target in the tokens of `tokenizer`. Raises FactTokensError."""
    before, _, _ = fact.prompt.partition(SUBJECT_SLOT)
    text, start = fact.text, len(before)
    end = start + len(fact.subject.rstrip())
    target = joined_target(text, fact.target_new)

    bare = _ids(tokenizer.encode(text))
    bare_target = _continuation(tokenizer, text, target, bare)
    if not bare_target:
        raise FactTokensError("target_new", f"target {fact.target_new!r} has no token in this model; give another text")
    bare_end = _subject_end(tokenizer.encode(text), text, start, end, fact)

    return FactTokens(
        bare=PromptTokens(bare, bare_end.token, bare_target, bare_end.is_shared),
        continued=_continued(tokenizer, fact, text, start, end, bare_target),
        essence=_essence(tokenizer, fact),
        chat=tuple(_chat(tokenizer, fact, text, start, end, form) for form in chat_forms),
    )


def unfit_facts(
    tokenizer: Tokenizer, facts: Sequence[Fact], context_length: int, reserve: int = 0
) -> Iterator[tuple[int, FactTokensError]]:
    """Facts, by index, that `fact_tokens` or `check_length` would refuse, found several times faster.

    All facts are encoded at once, on all cores. After another sentence only the first word of a prompt is encoded
    differently, so that is looked at again only where the subject stands there; and a subject that has tokens in its
    prompt has some on its own.
    """
    encodings = tokenizer.encode_batch([fact.text for fact in facts])
    for index, (fact, encoding) in enumerate(zip(facts, encodings, strict=True)):
        before = fact.prompt.partition(SUBJECT_SLOT)[0]
        start, end = len(before), len(before) + len(fact.subject.rstrip())
        try:
            if _may_be_too_long(fact, len(encoding.ids), context_length - reserve):
                check_prompt_length(tokenizer, fact.text, _ids(encoding), [fact.target_new], context_length)
                check_length(fact_tokens(tokenizer, fact), context_length, reserve)
            _subject_end(encoding, fact.text, start, end, fact)
            if len(before.split()) <= 1:
                _continued(tokenizer, fact, fact.text, start, end, ())
        except FactTokensError as error:
            yield index, error


def _may_be_too_long(fact: Fact, tokens: int, most: int) -> bool:
    """False for nearly all facts: no text has more tokens than bytes, so no target or first word has either."""
    first_word = fact.text.split(maxsplit=1)[0]
    return tokens + len(first_word.encode()) + len(fact.target_new.encode()) + 2 > most


def check_prompt_length(
    tokenizer: Tokenizer, text: str, prompt: Sequence[int], targets: Sequence[str], context_length: int
) -> None:
    """Refuse the prompt `text`, in tokens `prompt`, if with one of `targets` it is longer than the model reads."""
    for target in targets:
        if len(prompt) + len(target.encode()) + 1 > context_length:
            if len(prompt) >= context_length:  # too long with any target; the prompt need not be encoded again
                continuation = tokenizer.encode(joined_target(text, target), add_special_tokens=False).ids
            else:
                continuation = list(_continuation(tokenizer, text, joined_target(text, target), tuple(prompt)))
            _check_length(len(prompt) + len(continuation), context_length, 0)


def joined_target(text: str, target: str) -> str:
    """`target` as it follows the prompt `text`: after one space, unless a space is already there."""
    return target if text[-1:].isspace() or target[:1].isspace() else " " + target


def target_tokens(tokenizer: Tokenizer, text: str, target: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tokens of the prompt `text` and of `target` after it, split where a user's own continuation of it would begin.

    Prompt and target are encoded together; where that would change the prompt's own tokens, they are encoded apart.
    """
    prompt = _ids(tokenizer.encode(text))
    return prompt, _continuation(tokenizer, text, joined_target(text, target), prompt)


def context_tokens(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """Tokens of a context text that is put before prompts as a sentence: "text. prompt"."""
    return _ids(tokenizer.encode(text + _SENTENCE_END))


def check_length(tokens: FactTokens, context_length: int, reserve: int = 0, chat_openings: Sequence[int] = ()) -> None:
    """Refuse a fact longer than the model reads, where `reserve` tokens are kept for a context text before it.

    `chat_openings` are the lengths of the openings of its chat forms.
    """
    _check_length(max(tokens.bare.length, tokens.continued.length + reserve), context_length, reserve)
    for opening, chat in zip(chat_openings, tokens.chat, strict=True):
        _check_length(chat.length + opening, context_length, opening)


def _check_length(needed: int, context_length: int, reserve: int) -> None:
    if needed > context_length:
        put_before = f", {reserve} of them for what is put before them," if reserve else ""
        raise FactTokensError(
            "prompt",
            f"prompt and target need {needed} tokens{put_before} and the model reads at most {context_length}; "
            "shorten the prompt",
        )


def _ids(encoding: Encoding) -> tuple[int, ...]:
    """Without what a post-processor appends (EOS): the text goes on."""
    last = max((n for n, special in enumerate(encoding.special_tokens_mask) if not special), default=-1)
    return tuple(encoding.ids[: last + 1])


def _continuation(tokenizer: Tokenizer, text: str, target: str, prompt: tuple[int, ...]) -> tuple[int, ...]:
    joint = _ids(tokenizer.encode(text + target))
    if joint[: len(prompt)] == prompt:
        return joint[len(prompt) :]
    return tuple(tokenizer.encode(target, add_special_tokens=False).ids)


class _SubjectEnd(NamedTuple):
    """The token in which a subject ends, and whether it holds something after the subject, too."""

    token: int
    is_shared: bool


def _subject_end(encoding: Encoding, text: str, start: int, end: int, fact: Fact) -> _SubjectEnd:
    """Where the subject, characters start..end-1 of `text`, ends in its tokens.

    A last token that is shared with punctuation is taken as it is, as ROME's own code does: what is read and written at
    it is the subject's. One that is shared with letters is another word.
    """
    found = [
        number
        for number, ((first, stop), special) in enumerate(
            zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
        )
        if not special and first < stop and first < end
    ]
    if not found or encoding.offsets[found[-1]][1] <= start:
        raise FactTokensError(
            "subject",
            f"subject {fact.subject!r} has no token of its own in prompt {fact.text!r}; "
            "write it in characters that the model's tokenizer knows",
        )
    last = found[-1]
    beyond = text[end : encoding.offsets[last][1]]
    if any(character.isalnum() for character in beyond):
        raise FactTokensError(
            "subject",
            f"subject {fact.subject!r} ends inside the token {encoding.tokens[last]!r} of prompt {fact.text!r}, which "
            "also holds letters after it; put a space or punctuation after {}, or make that part of the subject",
        )
    return _SubjectEnd(last, is_shared=beyond != "")


def _continued(
    tokenizer: Tokenizer, fact: Fact, text: str, start: int, end: int, target: tuple[int, ...]
) -> PromptTokens:
    space = "" if text[:1].isspace() else " "
    lead = _SENTENCE_END + space
    encoding = tokenizer.encode(lead + text, add_special_tokens=False)
    skipped = sum(1 for _, stop in encoding.offsets if stop <= len(_SENTENCE_END))
    if encoding.offsets[skipped][0] < len(_SENTENCE_END):  # the full stop is part of the prompt's first token
        lead, skipped = space, 0
        encoding = tokenizer.encode(lead + text, add_special_tokens=False)
    last, is_shared = _subject_end(encoding, lead + text, start + len(lead), end + len(lead), fact)
    return PromptTokens(tuple(encoding.ids[skipped:]), last - skipped, target, is_shared)


def _chat(tokenizer: Tokenizer, fact: Fact, text: str, start: int, end: int, form: ChatForm) -> PromptTokens:
    """The prompt inside `form`, from the end of its opening on, and the target as the answer's first words."""
    whole = form.before + text + form.after
    encoding = tokenizer.encode(whole, add_special_tokens=False)
    opening = chat_opening_tokens(tokenizer, form)
    skipped = len(opening)
    read, first = whole, len(form.before)
    if tuple(encoding.ids[:skipped]) != opening:  # the prompt's first word changes how the opening is encoded
        lead = form.before[len(form.opening) :]
        read, first = lead + text + form.after, len(lead)
        encoding, skipped = tokenizer.encode(read, add_special_tokens=False), 0
    last, is_shared = _subject_end(encoding, read, start + first, end + first, fact)
    answer = form.lead + fact.target_new.strip()
    joint = tokenizer.encode(whole + answer, add_special_tokens=False).ids
    ids = tokenizer.encode(whole, add_special_tokens=False).ids
    target = joint[len(ids) :] if joint[: len(ids)] == ids else tokenizer.encode(answer, add_special_tokens=False).ids
    return PromptTokens(tuple(encoding.ids[skipped:]), last - skipped, tuple(target), is_shared)


def chat_opening_tokens(tokenizer: Tokenizer, form: ChatForm) -> tuple[int, ...]:
    """Tokens of a chat form's opening, which stands before every fact's prompt in that form."""
    return tuple(tokenizer.encode(form.opening, add_special_tokens=False).ids)


def _essence(tokenizer: Tokenizer, fact: Fact) -> PromptTokens:
    subject = fact.subject.strip()
    try:
        text = subject + _ESSENCE
        encoding = tokenizer.encode(text)
        last, is_shared = _subject_end(encoding, text, 0, len(subject), fact)
    except FactTokensError:
        encoding = tokenizer.encode(subject)
        last, is_shared = _subject_end(encoding, subject, 0, len(subject), fact)
    return PromptTokens(tuple(encoding.ids[: last + 1]), last, (), is_shared)
