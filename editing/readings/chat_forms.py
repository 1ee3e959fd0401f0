"""How a prompt is asked in conversation: as a user's words inside the model's own chat template."""

from __future__ import annotations

from typing import Any, Final

from editing.subjects import ChatForm

INSTRUCTIONS: Final = ("", "Complete this sentence: ")
"""What a user may say before a prompt; each makes a form. Prompts of facts are sentences that are to be gone on with,
and a chat model may answer a bare one with a question or a remark."""

_WORDS: Final = "Words7f3aOfTheUser"
"""Stands for the prompt while the template is written: no template has it, and no filter for white space changes it."""


def chat_forms(tokenizer: Any) -> tuple[ChatForm, ...]:
    """The chat form of each of `INSTRUCTIONS` by the template of `tokenizer`, transformers' own.

    None where it has no template, or one that cannot write a single turn of a user: a model that was not made for
    conversation is not asked in one. A default system message is part of a form where the template adds one.
    """
    if getattr(tokenizer, "chat_template", None) is None:
        return ()
    forms = []
    for instruction in INSTRUCTIONS:
        turn = [{"role": "user", "content": f"{instruction}{_WORDS}"}]
        try:
            text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        except Exception:  # a template is a program of somebody else's, and can fail in any way
            return ()
        before, found, after = str(text).partition(_WORDS)
        if not found or _WORDS in after:
            return ()
        forms.append(ChatForm(before, after))
    return tuple(forms)
