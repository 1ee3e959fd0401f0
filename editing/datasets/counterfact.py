"""CounterFact (Meng et al. 2022, arXiv 2202.05262): rewrites with paraphrases, neighbors and generation prompts."""

from __future__ import annotations

from collections.abc import Mapping

from editing.datasets.shape import FactFields, Record, Shape, object_at, text_at


def _facts(record: Record, convention: str) -> list[FactFields]:
    rewrite = object_at(record, "requested_rewrite")
    for name in ("prompt", "subject"):
        text_at(rewrite, name)
    return [dict(record)]  # the API takes these records too: `Fact` itself turns them into ours


COUNTERFACT = Shape(
    name="counterfact",
    title="CounterFact",
    source="https://rome.baulab.info/data/",
    recognises=lambda record: isinstance(record.get("requested_rewrite"), Mapping),
    facts=_facts,
    conventions={"target_new": "the new target is target_new, the old one target_true"},
)
