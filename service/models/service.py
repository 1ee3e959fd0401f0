"""Reading models and versions, and moving aliases."""

from __future__ import annotations

from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from api_schemas.downstream import Guard
from api_schemas.metrics import BatchMetrics
from api_schemas.models import (
    AliasInfo,
    AliasList,
    AliasUpdate,
    LineagePage,
    ModelCard,
    ModelList,
    VersionDetail,
    VersionFactPage,
    VersionPage,
)
from api_schemas.references import LATEST, ModelReference, version_name, version_number
from service.http.cursors import read_cursor, write_cursor
from service.models.guards import check_guard
from service.models.references import model_named, reference_in, version_reference
from service.models.views import (
    alias_card,
    alias_info,
    base_card,
    batch_metrics,
    lineage_entry,
    version_card,
    version_detail,
    version_fact,
    version_info,
    wear_of,
)
from service.resources import Resources
from store.access import audit
from store.lineage import aliases, fact_readings, models, series
from store.lineage import fact_pages as lineage_pages
from store.lineage import versions as lineage
from store.schema.tables import AliasRow
from store.upkeep import deletion

_STAGES = ("ready", "statistics", "loading", "starting", "stopping")


def all_cards(resources: Resources) -> ModelList:
    """Each model, then its versions from the base on, then its aliases."""
    cards = []
    with resources.database.reading() as session:
        for model in models.all_models(session):
            if not resources.caller.sees(model.name):
                continue
            pointing = lineage.aliases_of(session, model.name)
            rows = lineage.page(session, model.name, None, model.next_version)
            numbered = {row.number: row for row in rows}
            latest = next((numbered[alias.version] for alias in pointing if alias.alias == LATEST), None)
            cards.append(base_card(model, pointing, _stage(resources, model.name), latest))
            cards += [version_card(model, row, pointing) for row in reversed(rows)]
            cards += [alias_card(model, alias, numbered[alias.version]) for alias in pointing]
    return ModelList(data=cards)


def card(resources: Resources, model_id: str) -> ModelCard:
    """The card of NAME, NAME@vN or NAME@alias."""
    reference = _reference(model_id)
    with resources.database.reading() as session:
        model = models.get(session, reference.name)
        pointing = lineage.aliases_of(session, model.name)
        row = lineage.resolve(session, reference)
        if "@" not in model_id:
            return base_card(model, pointing, _stage(resources, model.name), row)
        if reference.alias is not None:
            return next(alias_card(model, alias, row) for alias in pointing if alias.alias == reference.alias)
        return version_card(model, row, pointing)


def versions(resources: Resources, name: str, cursor: str | None, limit: int) -> VersionPage:
    """Newest first."""
    before = read_cursor("versions", cursor)
    with resources.database.reading() as session:
        model = model_named(session, name)
        pointing = lineage.aliases_of(session, model.name)
        rows = lineage.page(session, model.name, before, limit)
        more = write_cursor("versions", rows[limit - 1].number) if len(rows) > limit else None
        return VersionPage(data=[version_info(row, pointing) for row in rows[:limit]], next_cursor=more)


def version(resources: Resources, name: str, version: str) -> VersionDetail:
    with resources.database.reading() as session:
        model = model_named(session, name)
        row = lineage.resolve(session, version_reference(name, version))
        return version_detail(model, row, lineage.aliases_of(session, model.name))


def version_facts(
    resources: Resources, name: str, version: str, state: str, cursor: str | None, limit: int
) -> VersionFactPage:
    """Those of the whole lineage, in order; `state` "in_force" leaves out what was corrected or taken out."""
    first = read_cursor("facts", cursor) or 0
    with resources.database.reading() as session:
        model_named(session, name)
        row = lineage.resolve(session, version_reference(name, version))
        found, after = lineage_pages.page(session, row.model, row.number, first, limit, in_force=state == "in_force")
        read = fact_readings.newest(session, row.model, row.number, [one.place for one in found])
    more = None if after is None else write_cursor("facts", after)
    return VersionFactPage(data=[version_fact(one, read.get(one.place)) for one in found], next_cursor=more)


def line(resources: Resources, name: str, of: str, cursor: str | None, limit: int) -> LineagePage:
    """The versions that lead to `of`, oldest first."""
    after = read_cursor("lineage", cursor) or 0
    with resources.database.reading() as session:
        model = model_named(session, name)
        row = lineage.resolve(session, version_reference(name, of))
        rows = series.page(session, model.name, row.number, after, limit)
        kinds = series.kinds(session, rows)
        pointing = lineage.aliases_of(session, model.name)
        more = write_cursor("lineage", rows[limit - 1].number) if len(rows) > limit else None
        data = [lineage_entry(one, kinds[one.number], pointing) for one in rows[:limit]]
        return LineagePage(of=version_name(row.number), wear=wear_of(row), data=data, next_cursor=more)


def version_metrics(resources: Resources, name: str, version: str) -> BatchMetrics:
    with resources.database.reading() as session:
        model_named(session, name)
        row = lineage.resolve(session, version_reference(name, version))
        return batch_metrics(row.metrics) or BatchMetrics()


def delete_version(resources: Resources, name: str, version: str) -> None:
    with resources.database.writing() as session:
        model_named(session, name)
        row = lineage.resolve(session, version_reference(name, version))
        deletion.delete(session, resources.caller.actor, row.model, row.number)


def list_aliases(resources: Resources, name: str) -> AliasList:
    with resources.database.reading() as session:
        return AliasList(data=[alias_info(row) for row in lineage.aliases_of(session, model_named(session, name).name)])


def put_alias(resources: Resources, name: str, alias: str, update: AliasUpdate) -> AliasInfo:
    version = None if update.version is None else version_number(update.version)
    expected = None if update.expected is None else version_number(update.expected)
    with resources.database.writing() as session:
        model_named(session, name)
        before = lineage.alias_named(session, name, alias)
        stood = None if before is None else (before.version, before.protected, before.guard)
        row = aliases.put(
            session,
            name,
            alias,
            version,
            expected,
            protected=update.protected,
            guard=_kept(update.guard),
            admin=resources.caller.is_admin,
        )
        is_moved = stood is None or stood[0] != row.version
        if is_moved and row.guard is not None:
            check_guard(session, Guard.model_validate(row.guard), name, alias, row.version)
        if stood != (row.version, row.protected, row.guard):
            changed = "alias.protected" if stood is not None and stood[1] != row.protected else "alias.guarded"
            _record(
                session,
                resources,
                "alias.moved" if is_moved else changed,
                row,
                before=None if stood is None else version_name(stood[0]),
            )
        return alias_info(row)


def _kept(guard: Guard | None) -> dict[str, object] | None:
    """As it is kept: {} where it demands nothing."""
    if guard is None:
        return None
    return guard.model_dump(exclude_none=True) if guard.demands else {}


def delete_alias(resources: Resources, name: str, alias: str) -> None:
    with resources.database.writing() as session:
        model_named(session, name)
        row = lineage.alias_named(session, name, alias)
        aliases.delete(session, name, alias, admin=resources.caller.is_admin)
        if row is not None:
            _record(session, resources, "alias.deleted", row)


def _record(session: Session, resources: Resources, action: str, row: AliasRow, **details: str | None) -> None:
    audit.record(
        session,
        resources.caller.actor,
        action,
        model=row.model,
        target=row.alias,
        version=version_name(row.version),
        protected=row.protected,
        **details,
    )


def _reference(model_id: str) -> ModelReference:
    return reference_in(model_id, "path.model")


def _stage(resources: Resources, name: str) -> str:
    """How far the furthest of the model's workers is."""
    try:
        found = {status.stage for status in resources.workers.of_model(name)}
    except RedisError:
        return "unknown"
    return next((stage for stage in _STAGES if stage in found), "no worker")
