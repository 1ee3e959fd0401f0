"""`emmetd ask`: what a version says, beside what another one says."""

from __future__ import annotations

import difflib
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.terminal.printable import printable_lines
from cli.terminal.served import AsJson, Key, Reference, Url, connected, show_json

if TYPE_CHECKING:
    from emmetd_client import Emmetd


@dataclass(frozen=True)
class Said:
    """`version` is NAME@vN."""

    version: str
    text: str


def ask(
    reference: Reference,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What it goes on from.", show_default=False)],
    compare: Annotated[
        str | None,
        typer.Option("--compare", metavar="VERSION", help="Ask this version too, and show what differs: v0, an alias."),
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="As a message, through the model's chat template.")] = False,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, metavar="N", help="Tokens, at most.")] = 48,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, max=2, metavar="T", help="0 always takes the likeliest token.")
    ] = 0.0,
    as_json: AsJson = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Ask a version of a model, or compare what two versions say.

    Words that only one of them says stand out: in colour on a terminal, else as {+…+} and {-…-}.

    \b
    Examples:
      emmetd ask smollm2-135m "The mother tongue of Danielle Darrieux is"
      emmetd ask smollm2-135m@v1 "What is the mother tongue of Danielle Darrieux?" --chat --compare v0
    """
    how: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
    with connected(url, key) as client:
        if compare is None and not as_json:
            _tell(client, reference, prompt, chat, how)
            return
        said = [_said(client, reference, prompt, chat, how)]
        if compare is not None:
            other = compare if "@" in compare else f"{reference.partition('@')[0]}@{compare}"
            said.append(_said(client, other, prompt, chat, how))
    if as_json:
        for one in said:
            show_json({"version": one.version, "prompt": prompt, "text": one.text})
    else:
        _compare(*said)


def _tell(client: Emmetd, reference: str, prompt: str, chat: bool, how: dict[str, Any]) -> None:
    """As it is written."""
    chunks = (
        client.chat.stream(model=reference, messages=prompt, **how)
        if chat
        else client.completions.stream(model=reference, prompt=prompt, **how)
    )
    version = reference
    for chunk in chunks:
        version = chunk.system_fingerprint or version
        typer.echo(printable_lines(chunk.text), nl=False)
    typer.echo()
    typer.echo(typer.style(f"— {version}", dim=True), err=True)


def _said(client: Emmetd, reference: str, prompt: str, chat: bool, how: dict[str, Any]) -> Said:
    answer = (
        client.chat.create(model=reference, messages=prompt, **how)
        if chat
        else client.completions.create(model=reference, prompt=prompt, **how)
    )
    return Said(answer.system_fingerprint or reference, answer.text)


def _compare(asked: Said, other: Said) -> None:
    colour = sys.stdout.isatty()
    here, there = marked(asked.text, other.text, colour)
    if asked.text == other.text:
        typer.echo(f"{asked.version} and {other.version} say the same:\n{here}")
        return
    typer.echo(f"{typer.style(asked.version, bold=True)}:\n{here}")
    typer.echo(f"{typer.style(other.version, bold=True)}:\n{there}")


def marked(asked: str, other: str, colour: bool) -> tuple[str, str]:
    """Both texts, with the words marked that are in one of them only."""
    words, others = (re.findall(r"\s+|[^\s]+", printable_lines(text)) for text in (asked, other))
    here, there = [], []
    for kind, i, j, k, m in difflib.SequenceMatcher(a=words, b=others, autojunk=False).get_opcodes():
        left, right = "".join(words[i:j]), "".join(others[k:m])
        same = kind == "equal"
        here.append(left if same or not left else _stand_out(left, "green", "{+", "+}", colour))
        there.append(right if same or not right else _stand_out(right, "red", "{-", "-}", colour))
    return "".join(here), "".join(there)


def _stand_out(text: str, foreground: str, start: str, end: str, colour: bool) -> str:
    if not text.strip():
        return text
    body = text.strip()
    before, _, after = text.partition(body)
    return f"{before}{typer.style(body, fg=foreground, bold=True) if colour else f'{start}{body}{end}'}{after}"
