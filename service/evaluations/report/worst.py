"""The facts that a version does worst on, and what it says instead, as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from api_schemas.facts import Fact
from service.evaluations.report.charts import is_share, number_text
from store.work.evaluations import KeptFact

_MOST_TEXTS: Final = 4
"""Answers to one fact's paraphrases, and the like, that are shown."""
_LONGEST: Final = 300


def worst(values: Sequence[Mapping[str, Mapping[str, float | None]]], version: str, most: int) -> list[int]:
    """Numbers of the facts whose values are the least, over all metrics that are shares; none that is perfect."""
    ranked = []
    for number, one in enumerate(values):
        shares = [value for name, value in one.get(version, {}).items() if value is not None and is_share(name)]
        finite = [value if math.isfinite(value) else 0.0 for value in shares]
        if finite and (mean := math.fsum(finite) / len(finite)) < 1:
            ranked.append((mean, number))
    return [number for _, number in sorted(ranked)[:most]]


def shown_fact(kept: KeptFact, versions: Sequence[str]) -> str:
    """One fact: what was asked and wanted, then what each version says of it."""
    fact = Fact.model_validate(kept.fact)
    rows = [("wanted", escape(_cut(fact.target_new)))]
    if fact.target_old is not None:
        rows.append(("before", escape(_cut(fact.target_old))))
    for version in versions:
        found = (kept.readings or {}).get(version)
        if isinstance(found, dict):
            rows += _of_version(version.rpartition("@")[2], found, fact)
    entries = "".join(f"<dt>{escape(name)}</dt><dd>{text}</dd>" for name, text in rows)
    return f"<li><strong>{kept.number}</strong> {escape(_cut(fact.text))}<dl>{entries}</dl></li>"


def _of_version(version: str, found: Mapping[str, Any], fact: Fact) -> Iterator[tuple[str, str]]:
    prompt = found.get("prompt")
    if isinstance(prompt, dict):
        old = prompt.get("old")
        beside = "" if old is None else f", before {number_text(old)}"
        is_said = "is" if prompt.get("said") else "is not"
        wanted = number_text(prompt.get("new"))
        yield f"{version} log-probability", f"wanted {wanted}{beside}; wanted {is_said} what would be said"
    if found.get("greedy") is not None:
        yield f"{version} goes on", escape(_cut(found["greedy"]))
    said = found.get("said") or {}
    asked: dict[str, list[str]] = {
        "paraphrases": list(fact.paraphrases),
        "chat": [],
        "portability": [question.prompt for question in fact.portability],
    }
    for kind, prompts in asked.items():
        for number, text in enumerate((said.get(kind) or [])[:_MOST_TEXTS]):
            before = f"{_cut(prompts[number])} → " if number < len(prompts) else ""
            yield f"{version} {kind}", escape(f"{before}{_cut(text)}")
    for text in (found.get("texts") or [])[:1]:
        yield f"{version} text", escape(_cut(text))
    verdict = found.get("judge")
    if isinstance(verdict, dict):
        yield f"{version} judged", escape(_cut(str(verdict.get("verdict"))))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
