"""What a model's chat template puts around a user's words."""

from __future__ import annotations

from typing import Any, Final

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from editing.subjects import ChatForm

INSTRUCTIONS: Final = ("", "Complete this sentence: ")
"""What people put before a prompt in a chat: nothing, or a request to go on with it."""
_MARK: Final = "\ue000"
_ANSWER: Final = "\ue001"
"""Characters for private use: no template looks at them, and none writes them."""


def chat_forms(tokenizer: PreTrainedTokenizerBase) -> tuple[ChatForm, ...]:
    """One form for each of `INSTRUCTIONS`: a single user's turn that the assistant is about to answer.

    None where the tokenizer has no chat template, or has one that takes no such conversation.
    """
    if not tokenizer.chat_template:
        return ()
    forms = []
    for instruction in INSTRUCTIONS:
        conversation: Any = [{"role": "user", "content": instruction + _MARK}]
        try:
            text = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        except (TemplateError, ValueError):
            return ()
        before, mark, after = str(text).partition(_MARK)
        if not mark or _MARK in after:
            return ()
        forms.append(ChatForm(before, after, _lead(tokenizer, conversation, str(text))))
    return tuple(forms)


def _lead(tokenizer: PreTrainedTokenizerBase, conversation: list[dict[str, str]], asked: str) -> str:
    """What the template puts before an answer to `conversation`, which it writes as `asked` before there is one."""
    answered = [*conversation, {"role": "assistant", "content": _ANSWER}]
    try:
        text = str(tokenizer.apply_chat_template(answered, tokenize=False))
    except (TemplateError, ValueError):
        return ""
    before, _, _ = text.partition(_ANSWER)
    return before[len(asked) :] if before.startswith(asked) else ""
