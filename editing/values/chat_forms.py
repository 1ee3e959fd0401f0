"""How a prompt is put in conversation: as a user's words inside the model's own chat template."""

from __future__ import annotations

from typing import Any, Final

from editing.subjects import ChatForm

INSTRUCTIONS: Final = ("", "Complete this sentence: ")
"""What a user may say before a prompt; each makes a form. Prompts of facts are sentences that are to be gone on with,
and a chat model may answer a bare one with a question or a remark."""

_WORDS: Final = "Words7f3aOfTheUser"
_ANSWER: Final = "Words7f3aOfTheAssistant"
"""Stand for prompt and answer while the template is written: no template has them, no filter for white space changes
them."""


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
        text = _written(tokenizer, turn, add_generation_prompt=True)
        before, found, after = text.partition(_WORDS)
        if not found or _WORDS in after:
            return ()
        answered = _written(tokenizer, [*turn, {"role": "assistant", "content": _ANSWER}], add_generation_prompt=False)
        lead = answered.partition(_ANSWER)[0]
        forms.append(ChatForm(before, after, lead[len(text) :] if lead.startswith(text) else ""))
    return tuple(forms)


def _written(tokenizer: Any, conversation: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    """The conversation by the template; nothing where it cannot be written."""
    try:
        return str(
            tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=add_generation_prompt)
        )
    except Exception:  # a template is a program of somebody else's, and can fail in any way
        return ""
