"""`emmetd evaluate NAME@v --tasks …`: lm-eval over the server's own API, its results kept with the version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.downstream.environment import interpreter
from cli.downstream.harness import Order, measure
from cli.terminal.served import connected, show_json, show_table

if TYPE_CHECKING:
    from emmetd_client import DownstreamResult, Emmetd


def evaluate_tasks(
    reference: str,
    compare: Sequence[str],
    order: Order,
    harness: str | None,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Each version is pinned first, so that an alias that moves meanwhile changes nothing."""
    with connected(url, key) as client:
        name = reference.partition("@")[0]
        references = [reference if "@" in reference else f"{name}@latest"]
        references += [one if "@" in one else f"{name}@{one}" for one in compare]
        pinned = list(dict.fromkeys(_pinned(client, one) for one in references))
        python = interpreter(harness)
        kept = [_measured(client, version, order, python) for version in pinned]
    if as_json:
        for one in kept:
            show_json(one)
        return
    from emmetd_client import downstream_table

    show_table(downstream_table(kept))
    typer.echo("kept with " + ", ".join(f"{one.model}@{one.version}" for one in kept))


def _pinned(client: Emmetd, reference: str) -> str:
    name, _, version = reference.partition("@")
    return f"{name}@{client.versions.get(name, version).version}"


def _measured(client: Emmetd, reference: str, order: Order, python: Path) -> DownstreamResult:
    found = measure(
        python,
        order,
        base_url=client.base_url,
        reference=reference,
        context_length=client.models.get(reference).max_model_len,
        api_key=client.api_key,
    )
    typer.echo(f"{reference}: {len(found.results)} measured by lm-eval {found.version}", err=True)
    return client.downstream.add(
        reference,
        harness={"name": "lm-eval", "version": found.version},
        settings=order.settings,
        results=found.results,
    )
