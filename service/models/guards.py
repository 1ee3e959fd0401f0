"""What a guarded alias demands of a version, held against what was measured of it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import Session

from api_schemas.downstream import Bound, Guard, TaskMeasure
from api_schemas.metrics import Measurement
from api_schemas.references import version_name
from editing.metrics import METRICS
from store.errors import AliasGuardedError
from store.lineage import downstream
from store.lineage import versions as lineage
from store.schema.measurement_tables import DownstreamRow
from store.schema.tables import VersionRow


def check_guard(session: Session, guard: Guard, model: str, alias: str, number: int) -> None:
    """Raise AliasGuardedError with everything that is missing for `alias` to point at the version."""
    row = lineage.get(session, model, number)
    missing = [*_metrics(guard, row), *_downstream(session, guard, row)]
    if missing:
        raise AliasGuardedError(
            f"alias {alias!r} is guarded, and {version_name(number)} of {model} does not meet it: {'; '.join(missing)}"
        )


def _metrics(guard: Guard, row: VersionRow) -> Iterator[str]:
    measured = row.metrics or {}
    for name, limit in guard.metrics.items():
        before, after = ((measured.get(when) or {}).get(name) for when in ("before", "after"))
        if name == "drift":
            after = measured.get("drift")
        breach = METRICS[name].breach(limit, _measurement(before), _measurement(after))
        if breach is not None:
            yield breach


def _measurement(found: object) -> Measurement | None:
    return Measurement.model_validate(found) if isinstance(found, dict) else None


def _downstream(session: Session, guard: Guard, row: VersionRow) -> Iterator[str]:
    for task, measures in guard.downstream.items():
        kept = downstream.newest(session, row.model, row.number, task)
        if kept is None:
            remedy = f"emmetd evaluate {row.model}@{version_name(row.number)} --tasks {task}"
            yield f"task {task!r} was not measured ({remedy})"
            continue
        for name, bound in measures.items():
            one = _measure(kept, task, name)
            if one is None:
                known = ", ".join(kept.results[task]["measures"])
                yield f"task {task!r} was measured without {name!r}; it has {known}"
            else:
                yield from _breaches(session, kept, f"{task} {name}", task, name, one, bound)


def _breaches(
    session: Session, kept: DownstreamRow, said: str, task: str, name: str, one: TaskMeasure, bound: Bound
) -> Iterator[str]:
    if bound.at_least is not None and one.value < bound.at_least:
        yield f"{said} is {one.value:.4g}, below {bound.at_least:g}"
    if bound.at_most is not None and one.value > bound.at_most:
        yield f"{said} is {one.value:.4g}, above {bound.at_most:g}"
    if bound.most_fall is None or kept.version == 0:
        return
    base = downstream.newest(session, kept.model, 0, task)
    before = None if base is None else _measure(base, task, name)
    if base is None or before is None:
        yield f"{said} of the base was not measured (emmetd evaluate {kept.model}@v0 --tasks {task})"
        return
    if _how(base, task) != _how(kept, task):
        yield f"{said} of the base was measured by another harness or otherwise; measure both alike"
        return
    fall = one.value - before.value if one.higher_is_better is False else before.value - one.value
    if fall > bound.most_fall:
        yield f"{said} went from the base's {before.value:.4g} to {one.value:.4g}, more than {bound.most_fall:g} worse"


def _measure(row: DownstreamRow, task: str, name: str) -> TaskMeasure | None:
    found = row.results[task]["measures"].get(name)
    return None if found is None else TaskMeasure.model_validate(found)


def _how(row: DownstreamRow, task: str) -> tuple[object, ...]:
    return row.harness, row.settings, row.results[task].get("version"), row.results[task].get("n")
