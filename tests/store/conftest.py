"""A database of either kind, and batches to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.orm import Session

from api_schemas.references import parse_reference
from store.lineage import models
from store.lineage import versions as lineage
from store.schema.database import Database
from store.schema.tables import BatchRow, VersionRow
from store.work import batches


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Everything that works with the store does so on each of the databases."""
    if "database_url" in metafunc.fixturenames:
        metafunc.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    with opened.writing() as session:
        models.register(session, "tiny", "./tiny")
    yield opened
    opened.close()


FACT = {"prompt": "{} is", "subject": "it", "target_new": "so"}

Accept = Callable[..., BatchRow]


@pytest.fixture
def accept() -> Accept:
    """Accept a batch of one fact on the reference given."""

    def _accept(session: Session, reference: str = "tiny", **fields: object) -> BatchRow:
        given = {"algorithm": "emmet", "settings": {}, "thresholds": {}, "facts": [FACT], **fields}
        new = batches.NewBatch(parse_reference(reference), **given)  # type: ignore[arg-type]
        return batches.accept(session, new, most_queued=100)[0]

    return _accept


def publish(session: Session, batch: BatchRow) -> VersionRow:
    """Publish `batch` with a delta that is only a name."""
    new = lineage.NewVersion(
        layers=[1],
        rank=1,
        blob="0" * 64,
        matrix_blobs={"1": "1" * 64},
        delta_bytes=1,
        matrix_bytes=0,
        matrix_hashes={"1": "2" * 64},
        provenance={},
        metrics={},
    )
    version = lineage.publish(session, batch, new)
    batches.set_state(session, batch, "succeeded")
    return version
