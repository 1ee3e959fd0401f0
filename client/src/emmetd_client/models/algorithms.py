"""Editing methods and their settings."""

from __future__ import annotations

from typing import Any

from emmetd_client.models.answers import Answer


class Setting(Answer):
    """`recommended` is what a batch on the named model takes where its caller sets nothing."""

    name: str
    type: str
    description: str = ""
    default: Any = None
    recommended: Any = None
    minimum: float | None = None
    exclusive_minimum: float | None = None
    maximum: float | None = None
    choices: list[str] | None = None


class Algorithm(Answer):
    """`batch_limit` is how many subjects one batch may have; None is any number."""

    name: str
    title: str = ""
    summary: str = ""
    paper: str = ""
    batch_limit: int | None = None
    settings: list[Setting] = []
    presets: dict[str, dict[str, Any]] = {}
