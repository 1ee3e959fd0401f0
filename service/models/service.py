"""Reading models and versions, and moving aliases."""

from __future__ import annotations

from typing import Any

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
from service.models.alias_requests import ask
from service.models.guards import check_guard
from service.models.references import model_named, reference_in, version_reference
from service.models.views import (
    ModelWorkers,
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
from store.errors import AliasApprovalError
from store.lineage import alias_requests as waiting_requests
from store.lineage import aliases, fact_readings, models, notes, series
from store.lineage import fact_pages as lineage_pages
from store.lineage import versions as lineage
from store.lineage.alias_requests import Change
from store.schema.tables import AliasRow
from store.upkeep import deletion

_STAGES = ("ready", "statistics", "loading", "starting", "stopping")


def all_cards(resources: Resources, tag: str | None = None, text: str | None = None) -> ModelList:
    """Each model, then its versions from the base on, then its aliases; of them those that have `tag` and `text`."""
    cards = []
    with resources.database.reading() as session:
        for model in models.all_models(session):
            if not resources.caller.sees(model.name):
                continue
            pointing = lineage.aliases_of(session, model.name)
            rows = lineage.page(session, model.name, None, model.next_version)
            numbered = {row.number: row for row in rows}
            latest = next((numbered[alias.version] for alias in pointing if alias.alias == LATEST), None)
            cards.append(base_card(model, pointing, _workers(resources, model.name), latest))
            cards += [version_card(model, row, pointing) for row in reversed(rows)]
            cards += [alias_card(model, alias, numbered[alias.version]) for alias in pointing]
    return ModelList(data=[card for card in cards if _matches(card, tag, text)])


def card(resources: Resources, model_id: str) -> ModelCard:
    """The card of NAME, NAME@vN or NAME@alias."""
    reference = _reference(model_id)
    with resources.database.reading() as session:
        model = models.get(session, reference.name)
        pointing = lineage.aliases_of(session, model.name)
        row = lineage.resolve(session, reference)
        if "@" not in model_id:
            return base_card(model, pointing, _workers(resources, model.name), row)
        if reference.alias is not None:
            return next(alias_card(model, alias, row) for alias in pointing if alias.alias == reference.alias)
        return version_card(model, row, pointing)


def versions(
    resources: Resources,
    name: str,
    cursor: str | None,
    limit: int,
    tag: str | None = None,
    text: str | None = None,
) -> VersionPage:
    """Newest first, those that have `tag` and `text`."""
    before = read_cursor("versions", cursor)
    with resources.database.reading() as session:
        model = model_named(session, name)
        pointing = lineage.aliases_of(session, model.name)
        rows = lineage.page(session, model.name, before, limit, tag=tag, text=text)
        more = write_cursor("versions", rows[limit - 1].number) if len(rows) > limit else None
        return VersionPage(data=[version_info(row, pointing) for row in rows[:limit]], next_cursor=more)


def version(resources: Resources, name: str, version: str) -> VersionDetail:
    with resources.database.reading() as session:
        model = model_named(session, name)
        row = lineage.resolve(session, version_reference(name, version))
        return version_detail(model, row, lineage.aliases_of(session, model.name))


def etag_of(found: ModelCard | VersionDetail) -> str:
    """What `If-Match` of a change of its description or tags is compared with."""
    return f'"{notes.etag(found)}"'


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
        rows = lineage.aliases_of(session, model_named(session, name).name)
        waiting = {row.alias: waiting_requests.open_of(session, row)[-1:] for row in rows if row.approval}
        return AliasList(data=[alias_info(row, *waiting.get(row.alias, ())) for row in rows])


def put_alias(resources: Resources, name: str, alias: str, update: AliasUpdate) -> AliasInfo:
    """With a `request` where another key must approve it first; the alias then stands as it did."""
    version = None if update.version is None else version_number(update.version)
    expected = None if update.expected is None else version_number(update.expected)
    with resources.database.writing() as session:
        model_named(session, name)
        before = lineage.alias_named(session, name, alias)
        stood = None if before is None else (before.version, before.protected, before.approval, before.guard)
        change = Change(version, update.protected, update.approval)
        try:
            row = aliases.put(
                session,
                name,
                alias,
                version,
                expected,
                protected=update.protected,
                approval=update.approval,
                guard=_kept(update.guard),
                admin=resources.caller.is_admin,
            )
        except AliasApprovalError:
            assert before is not None, "what is new demands nothing yet"
            if version is not None and before.guard is not None:
                check_guard(session, Guard.model_validate(before.guard), name, alias, version)
            return alias_info(before, ask(session, resources.caller, before, change, update.reason))
        waiting_requests.close_stale(session, resources.caller.actor, row)
        is_moved = stood is None or stood[0] != row.version
        if is_moved and row.guard is not None:
            check_guard(session, Guard.model_validate(row.guard), name, alias, row.version)
        if stood != (row.version, row.protected, row.approval, row.guard):
            changed = "alias.guarded" if stood is not None and stood[3] != row.guard else "alias.protected"
            _record(
                session,
                resources,
                "alias.moved" if is_moved else changed,
                row,
                before=None if stood is None else version_name(stood[0]),
                **({} if update.reason is None else {"reason": update.reason}),
            )
        told = alias_info(row)
    resources.sender.wake()
    return told


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


def _record(session: Session, resources: Resources, action: str, row: AliasRow, **details: Any) -> None:
    audit.record(
        session,
        resources.caller.actor,
        action,
        model=row.model,
        target=row.alias,
        version=version_name(row.version),
        protected=row.protected,
        **({"approval": True} if row.approval else {}),
        **details,
    )


def _reference(model_id: str) -> ModelReference:
    return reference_in(model_id, "path.model")


def _matches(card: ModelCard, tag: str | None, text: str | None) -> bool:
    if tag is not None and tag not in card.tags:
        return False
    texts = (card.id, card.description or "", *card.tags)
    return text is None or any(text.casefold() in one.casefold() for one in texts)


def _workers(resources: Resources, name: str) -> ModelWorkers:
    """What the model's workers say of themselves. `state` is how far the furthest of them is."""
    try:
        statuses = resources.workers.of_model(name)
        awaits = resources.workers.awaited(name)
    except RedisError:
        return ModelWorkers("unknown", (), None)
    stages = {status.stage for status in statuses}
    state = next((stage for stage in _STAGES if stage in stages), "no worker")
    return ModelWorkers(state, tuple(sorted({status.device for status in statuses})), awaits)
