"""Comparing two versions: what each says, and how far their weights are apart."""

from __future__ import annotations

from collections.abc import Sequence

from api_schemas.diffs import DeltaNorm, FactDiff, LayerDiff, VersionDiff
from api_schemas.references import version_name
from service.models.references import model_named, version_reference
from service.models.views import version_fact
from service.resources import Resources
from versions import layer_diff, lineage
from versions.lineage_facts import LineageFact, lineage_facts


def diff(resources: Resources, name: str, before: str, after: str, facts_shown: int, *, weights: bool) -> VersionDiff:
    """From version `before` to version `after`; both may be aliases, which are followed."""
    with resources.database.reading() as session:
        model = model_named(session, name)
        first = lineage.resolve(session, version_reference(name, before))
        second = lineage.resolve(session, version_reference(name, after))
        path, other_path = (lineage.ancestry(session, name, row.number) for row in (first, second))
        said, says = (
            [one for one in lineage_facts(session, name, row.number) if one.state == "in_force"]
            for row in (first, second)
        )
    common = [one.number for one, two in zip(path, other_path, strict=False) if one.number == two.number]
    layers: list[layer_diff.LayerDiff] = []
    if weights and model.fingerprint is not None:
        layers = resources.diffs.get((name, first.number, second.number), path, other_path, model.fingerprint)
    return VersionDiff(
        model=name,
        before=version_name(first.number),
        after=version_name(second.number),
        common_ancestor=version_name(common[-1] if common else 0),
        facts_added=_only(says, said, facts_shown),
        facts_taken_out=_only(said, says, facts_shown),
        layers=[_layer(one) for one in layers],
    )


def _only(these: Sequence[LineageFact], others: Sequence[LineageFact], shown: int) -> FactDiff:
    known = {one.place for one in others}
    found = [one for one in these if one.place not in known]
    return FactDiff(total=len(found), data=[version_fact(one) for one in found[:shown]])


def _layer(one: layer_diff.LayerDiff) -> LayerDiff:
    return LayerDiff(
        layer=one.layer,
        before=_norm(one.before, one.base_norm),
        after=_norm(one.after, one.base_norm),
        difference=_norm(one.difference, one.base_norm),
        cosine=one.cosine,
    )


def _norm(norm: float, base: float | None) -> DeltaNorm:
    return DeltaNorm(norm=norm, relative=norm / base if base else None)
