"""Chat templates: Jinja that comes with a model, and so is run in a sandbox with what Transformers gives it.

Source: https://huggingface.co/docs/transformers/main/en/chat_templating_writing
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from api_schemas.openai.chat import ChatMessage
from service.generation.pinning import ServedModel
from service.http.fields import invalid

FIELD = "messages"


def write_conversation(model: ServedModel, messages: Sequence[ChatMessage], *, begin_answer: bool = True) -> str:
    """`messages` as the model was taught to read them; with `begin_answer` up to where the assistant's next one begins.

    Raises InvalidFieldsError where the model has no template, or its template refuses the messages.
    """
    if model.chat_template is None:
        raise invalid(
            "model",
            f"{model.name} has no chat template, so it was not made for conversations; send the text that it shall "
            "go on from to /v1/completions",
        )
    try:
        return _compiled(model.chat_template).render(
            messages=[_plain(message, model.chat_template) for message in messages],
            add_generation_prompt=begin_answer,
            **model.special_tokens,
        )
    except TemplateSyntaxError as error:
        raise invalid(
            "model", f"the chat template of {model.name} cannot be read: line {error.lineno}: {error}"
        ) from None
    except _RefusedError as error:
        raise invalid(FIELD, f"the chat template of {model.name} refuses them: {error}") from None
    except Exception as error:  # a template is a program of somebody else's, and can fail in any way
        raise invalid(
            FIELD, f"the chat template of {model.name} cannot write them ({type(error).__name__}: {error})"
        ) from None


class _RefusedError(TemplateError):
    """A template's own `raise_exception`."""


def _plain(message: ChatMessage, template: str) -> dict[str, Any]:
    """A message as templates know them. "developer" is a newer name of "system" that only few of them know."""
    role = "system" if message.role == "developer" and message.role not in template else message.role
    return {"role": role, "content": message.text} | ({} if message.name is None else {"name": message.name})


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": _now, "namespace": _PlainNamespace}
    return environment.from_string(template)


class _Generation(Extension):
    """{% generation %} marks what an assistant said, for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _PlainNamespace(Namespace):
    """Refuses names that begin with "_", behind which Python keeps what no template shall reach."""

    def __init__(self, *values: Any, **named: Any) -> None:
        for name in dict(*values, **named):
            _PlainNamespace._check(name)
        super().__init__(*values, **named)

    def __setitem__(self, name: str, value: Any) -> None:
        _PlainNamespace._check(name)
        super().__setitem__(name, value)

    @staticmethod
    def _check(name: str) -> None:
        if name.startswith("_"):
            raise _RefusedError(f"a namespace cannot have the attribute {name!r}")


def _refuse(message: str) -> None:
    raise _RefusedError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
