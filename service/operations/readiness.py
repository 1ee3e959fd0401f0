"""Whether edits and completions are served now, and if not, what is awaited."""

from __future__ import annotations

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from service.resources import Resources
from store.lineage import models
from store.schema.database import schema_is_current
from store.upkeep.availability import database_trouble


def awaited(resources: Resources) -> list[str]:
    """What is missing, in words; nothing where everything is there."""
    try:
        if not schema_is_current(resources.database):
            return ["the database has not this release's tables yet; `emmetd serve` and `emmetd migrate` make them"]
        with resources.database.reading() as session:
            # A model that was registered for a worker to come keeps nobody from asking the others.
            names = [row.name for row in models.all_models(session) if row.fingerprint is not None]
    except (SQLAlchemyError, OSError) as error:
        return [database_trouble(error)]
    if problems := resources.storage.problems():
        return problems
    try:
        resources.redis.ping()
        waiting = [resources.workers.awaited(name) for name in names]
    except (RedisError, OSError):
        return ["Redis does not answer"]
    if not names:
        stages = [f"{status.model}: {status.stage} {status.detail}".strip() for status in resources.workers.statuses()]
        return ["no worker has registered a model yet" + (f" ({'; '.join(stages)})" if stages else "")]
    return [reason for reason in waiting if reason is not None]
