"""The chat forms of a model: what its chat template writes around a user's message, so that values are optimised, and
measured, in conversation too.

The text around a marker is taken from the template once; facts are then tokenised inside it without running it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from editing.subjects import ChatForm

INSTRUCTIONS: Final = ("", "Complete this sentence: ")
"""What a user may say before a prompt; each makes a form of its own. Prompts of facts are sentences that are to be gone
on with, and a chat model may answer a bare one with a question or a remark."""

_PROMPT_MARK: Final = "Words7f3aOfTheUser"
_ANSWER_MARK: Final = "Words7f3aOfTheAssistant"
"""Stand for prompt and answer while the template is written: no template has them, no filter for white space changes
them."""


def chat_forms(tokenizer: Any, instructions: Sequence[str] = INSTRUCTIONS) -> tuple[ChatForm, ...]:
    """The chat form of each of `instructions` by the template of `tokenizer`, transformers' own.

    Empty where it has no template, or one that cannot write a single turn of a user: a model that was not made for
    conversation is not asked in one. A default system message is part of a form where the template adds one.
    """
    if getattr(tokenizer, "chat_template", None) is None:
        return ()
    forms = []
    for instruction in instructions:
        turn = [{"role": "user", "content": f"{instruction}{_PROMPT_MARK}"}]
        text = _rendered(tokenizer, turn, add_generation_prompt=True)
        before, mark, after = text.partition(_PROMPT_MARK)
        if not mark or _PROMPT_MARK in after:  # left out or written twice: there is no one place for a prompt
            return ()
        answer = {"role": "assistant", "content": _ANSWER_MARK}
        answered = _rendered(tokenizer, [*turn, answer], add_generation_prompt=False)
        up_to_answer = answered.partition(_ANSWER_MARK)[0]
        # Some templates write an answer that was given otherwise than one that is to come: `lead` is unknown then.
        lead = up_to_answer[len(text) :] if up_to_answer.startswith(text) else ""
        forms.append(ChatForm(before, after, lead))
    return tuple(forms)


def _rendered(tokenizer: Any, conversation: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    """The conversation as the template writes it; an empty text where it cannot."""
    try:
        return str(
            tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=add_generation_prompt)
        )
    except Exception:  # a template is a program of somebody else's, and can fail in any way
        return ""
