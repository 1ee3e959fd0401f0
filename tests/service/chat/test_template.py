"""Chat templates are written as Transformers writes them, and cannot do more than write."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from api_schemas.openai.chat import ChatMessage
from service.chat.template import write_conversation
from service.errors import InvalidFieldsError
from service.generation.pinning import ServedModel

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
BRACKETS = """\
{{- bos_token }}
{%- set ns = namespace(system='', turns=0) %}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {%- set ns.system = message.content | trim %}
        {%- continue %}
    {%- endif %}
    {%- if (message.role == 'user') != (ns.turns % 2 == 0) %}
        {{- raise_exception('roles must alternate user/assistant/user/assistant/…') }}
    {%- endif %}
    {%- set ns.turns = ns.turns + 1 %}
    {% if message.role == 'user' %}
        {{- ' [INST] ' + (ns.system + '\n\n' if ns.system and ns.turns == 1 else '') + message.content + ' [/INST]' }}
    {%- else %}
        {%- generation %}{{ ' ' + message.content + eos_token }}{% endgeneration %}
    {%- endif %}
{%- endfor %}
"""
DESCRIBING = (
    "{{ messages | tojson(indent=2) }}{{ strftime_now('%Y') | length }}"
    "{% if messages[0].name is defined %}named{% endif %}"
)
CONVERSATION = [
    {"role": "system", "content": " Be brief. "},
    {"role": "user", "content": "What is <1 & 2> “日本”?"},
    {"role": "assistant", "content": "Three"},
    {"role": "user", "content": "Sure?\n"},
]


def model(template: str | None) -> ServedModel:
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    return ServedModel("tiny", Tokenizer(models.BPE()), 64, template, tokens)


def written(template: str | None, *messages: dict[str, Any]) -> str:
    return write_conversation(model(template), [ChatMessage.model_validate(message) for message in messages])


@pytest.mark.parametrize("template", [CHATML, BRACKETS, DESCRIBING])
@pytest.mark.parametrize("length", [2, 4])
def test_a_conversation_reads_as_transformers_writes_it(template: str, length: int) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = template
    messages = CONVERSATION[:length]
    expected = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    assert written(template, *messages) == expected


def test_parts_of_text_stand_on_lines_of_their_own() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]

    assert written("{{ messages[0].content }}", {"role": "user", "content": parts}) == "one\ntwo"


def test_a_developers_message_is_a_systems_where_the_template_knows_no_other() -> None:
    message = {"role": "developer", "content": "Be brief"}

    assert written("{{ messages[0].role }}", message) == "system"
    assert written("{{ messages[0].role }}{# developer #}", message) == "developer"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (None, "tiny has no chat template"),
        ("{% if %}", "cannot be read: line 1"),
        ("{{ messages[0].content.missing.deeper }}", "UndefinedError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        (BRACKETS, "roles must alternate user/assistant"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{% set ns = namespace() %}{% set ns.__class__ = 1 %}", "cannot have the attribute '__class__'"),
        ("{{ namespace(_x=1) }}", "cannot have the attribute '_x'"),
        ("{% for a in range(1000000000) %}{% endfor %}", "OverflowError"),
    ],
)
def test_a_template_that_fails_is_a_wrong_field_that_says_why(template: str | None, says: str) -> None:
    with pytest.raises(InvalidFieldsError) as refused:
        written(template, {"role": "assistant", "content": "Hello"})
    assert says in refused.value.detail
