"""The menu: which page stands under which heading. A page that is not here fails the build."""

from __future__ import annotations

from typing import Final

NAVIGATION: Final[dict[str, tuple[str, ...]]] = {
    "Begin": ("five-minutes", "first-steps", "chat-models", "limits"),
    "Do": ("comparing-methods", "year-of-corrections", "laptop-to-cluster", "into-vllm"),
    "Notebooks": ("notebooks/first-correction", "notebooks/comparing-methods", "notebooks/a-line-over-time"),
    "Versions": ("lines", "consolidating", "exporting"),
    "Look up": ("api/index", "client", "configuration", "glossary", "mathematics"),
    "Operate": ("operations/README",),
    "Understand": ("architecture", "decisions/index", "measurements", "reproducing", "changelog"),
}
"""Heading → pages, by their path below the site without its ending."""


def menu() -> str:
    """All of it as MyST's directives, for the end of the front page."""
    return "\n".join(toctree(pages, caption=heading) for heading, pages in NAVIGATION.items())


def toctree(pages: tuple[str, ...] | list[str], caption: str = "", hidden: bool = True) -> str:
    options = [f":caption: {caption}"] if caption else []
    options += [":hidden:"] if hidden else [":maxdepth: 1"]
    return "\n".join(["```{toctree}", *options, "", *pages, "```", ""])
