"""The menu: which page stands under which heading. Pages beside these come last, under a heading of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

NAVIGATION: Final[dict[str, tuple[str, ...]]] = {
    "Begin": ("five-minutes", "first-steps", "console", "chat-models", "models", "limits"),
    "Do": ("comparing-methods", "year-of-corrections", "laptop-to-cluster", "into-vllm"),
    "Notebooks": ("notebooks/first-correction", "notebooks/comparing-methods", "notebooks/a-line-over-time"),
    "Versions": ("lines", "consolidating", "evaluating", "registry", "exporting", "deploying", "vllm-plugin"),
    "Look up": ("api/index", "client", "configuration", "glossary", "mathematics"),
    "Operate": ("operations/README", "webhooks"),
    "Understand": ("architecture", "decisions/index", "measurements", "reproducing", "changelog"),
}
"""Heading → pages, by their path below the site without its ending."""
_OTHERS: Final = "More"


def menu(names: Iterable[str]) -> str:
    """All of it as MyST's directives, for the end of the front page. `names`: all pages at the top of the site."""
    listed = {name for pages in NAVIGATION.values() for name in pages} | {"index"}
    others = tuple(sorted(set(names) - listed))
    headings = {**NAVIGATION, _OTHERS: others} if others else NAVIGATION
    return "\n".join(toctree(pages, caption=heading) for heading, pages in headings.items())


def toctree(pages: tuple[str, ...] | list[str], caption: str = "", hidden: bool = True) -> str:
    options = [f":caption: {caption}"] if caption else []
    options += [":hidden:"] if hidden else [":maxdepth: 1"]
    return "\n".join(["```{toctree}", *options, "", *pages, "```", ""])
