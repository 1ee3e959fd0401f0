"""Comparing two versions: what each says, and how far their weights are apart."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from api_schemas.diffs import DeltaNorm, FactDiff, LayerDiff, VersionDiff
from api_schemas.references import version_name
from service.models.references import model_named, version_reference
from service.models.views import version_fact
from service.resources import Resources
from store.lineage import fact_pages as lineage_pages
from store.lineage import layer_diff
from store.lineage import versions as lineage
from store.lineage.fact_pages import Lineage
from store.lineage.facts_in_force import Place


def diff(resources: Resources, name: str, before: str, after: str, facts_shown: int, *, weights: bool) -> VersionDiff:
    """From version `before` to version `after`; both may be aliases, which are followed."""
    with resources.database.reading() as session:
        model = model_named(session, name)
        first = lineage.resolve(session, version_reference(name, before))
        second = lineage.resolve(session, version_reference(name, after))
        path, other_path = (lineage.ancestry(session, name, row.number) for row in (first, second))
        said, says = (_Says.read(session, name, row.number) for row in (first, second))
        added, gone = says.only(session, said, facts_shown), said.only(session, says, facts_shown)
    common = [one.number for one, two in zip(path, other_path, strict=False) if one.number == two.number]
    layers: list[layer_diff.LayerDistances] = []
    if weights and model.fingerprint is not None:
        layers = resources.diffs.get((name, first.number, second.number), path, other_path, model.fingerprint)
    return VersionDiff(
        model=name,
        before=version_name(first.number),
        after=version_name(second.number),
        common_ancestor=version_name(common[-1] if common else 0),
        facts_added=added,
        facts_taken_out=gone,
        layers=[_layer(one) for one in layers],
    )


@dataclass(frozen=True)
class _Says:
    """What a version says, without the texts."""

    line: Lineage
    places: list[Place]

    @classmethod
    def read(cls, session: Session, name: str, number: int) -> _Says:
        line = lineage_pages.read_lineage(session, name, number)
        return cls(line, lineage_pages.in_force(session, line))

    def only(self, session: Session, other: _Says, shown: int) -> FactDiff:
        """What `other` does not say: all of it is counted, the first of it is read."""
        known = set(other.places)
        found = [place for place in self.places if place not in known]
        facts = lineage_pages.facts_at(session, self.line, found[:shown])
        return FactDiff(total=len(found), data=[version_fact(one, None) for one in facts])


def _layer(one: layer_diff.LayerDistances) -> LayerDiff:
    return LayerDiff(
        layer=one.layer,
        before=_norm(one.before, one.base_norm),
        after=_norm(one.after, one.base_norm),
        difference=_norm(one.difference, one.base_norm),
        cosine=one.cosine,
    )


def _norm(norm: float, base: float | None) -> DeltaNorm:
    return DeltaNorm(norm=norm, relative=norm / base if base else None)
