"""Comparing versions over HTTP: facts that came and went, and norms from the blobs."""

from __future__ import annotations

import numpy as np
import pytest

from api_schemas.references import ModelReference
from service.state.weight_diffs import WeightDiffs
from store.blobs.deltas import LayerArrays, pack_delta
from store.errors import BlobMissingError
from store.lineage import versions as lineage
from store.lineage.versions import NewVersion
from store.schema.database import Database
from store.schema.tables import VersionRow
from store.work import batches
from store.work.reversal import as_reverts, facts_to_revert
from tests.service.conftest import MODEL, Api, fact

D_OUT, D_IN = 8, 16
FINGERPRINT = "f" * 64


def arrays(seed: int, rank: int = 2) -> LayerArrays:
    random = np.random.default_rng(seed)
    return LayerArrays(
        a=random.normal(size=(rank, D_IN)).astype(np.float32), b=random.normal(size=(D_OUT, rank)).astype(np.float32)
    )


def matrix(seed: int) -> np.ndarray:
    one = arrays(seed)
    assert one.a is not None
    assert one.b is not None
    return one.b.astype(float) @ one.a.astype(float)


def published(api: Api, database: Database, new: batches.NewBatch, seed: int, layer: int = 1) -> VersionRow:
    """A version of `new` whose delta is made from `seed`."""
    blob = api.resources.blobs.put(pack_delta({layer: arrays(seed)}, {"fingerprint": FINGERPRINT}))
    with database.writing() as session:
        row = batches.accept(session, new, most_queued=100)[0]
        row.base_version = lineage.resolve(session, new.reference).number
        version = NewVersion([layer], 2, blob, {str(layer): "1" * 64}, 1, 1, {}, {"base_norms": {str(layer): 10.0}}, {})
        batches.set_state(session, row, "succeeded")
        return lineage.publish(session, row, version)


def edit(numbers: list[int], version: int | None = None, alias: str | None = "latest") -> batches.NewBatch:
    return batches.NewBatch(ModelReference(MODEL, version, alias), "emmet", {}, {}, [fact(n) for n in numbers])


@pytest.fixture
def versions(api: Api, database: Database) -> None:
    """v1 and v2 in line, v3 a branch of v1 in another layer, v4 takes a fact of v1 out of v2."""
    published(api, database, edit([0, 1]), 1)
    published(api, database, edit([2]), 2)
    published(api, database, edit([3, 1], 1, None), 3, layer=2)
    with database.reading() as session:
        gone = facts_to_revert(session, MODEL, 2, of=1, indices=[0], edits=[])
    reverting = batches.NewBatch(
        ModelReference(MODEL, alias="latest"), "revert", {}, {}, [one.fact for one in gone], reverts=as_reverts(gone)
    )
    published(api, database, reverting, 4)


def test_a_diff_tells_facts_and_weights(api: Api, versions: None) -> None:
    found = api.http.get(f"/v1/models/{MODEL}/diff?from=v3&to=latest").json()

    assert (found["before"], found["after"], found["common_ancestor"]) == ("v3", "v4", "v1")
    added, gone = found["facts_added"], found["facts_taken_out"]
    assert [(one["subject"], one["version"]) for one in added["data"]] == [("Country 1", "v1"), ("Country 2", "v2")]
    assert [(one["subject"], one["version"]) for one in gone["data"]] == [
        ("Country 0", "v1"),
        ("Country 3", "v3"),
        ("Country 1", "v3"),
    ]
    first, second = found["layers"]
    assert (first["layer"], second["layer"]) == (1, 2)
    from_base, to_base = matrix(1), matrix(1) + matrix(2) + matrix(4)
    assert first["before"]["norm"] == pytest.approx(np.linalg.norm(from_base))
    assert first["after"]["norm"] == pytest.approx(np.linalg.norm(to_base))
    assert first["difference"]["relative"] == pytest.approx(np.linalg.norm(to_base - from_base) / 10)
    cosine = np.vdot(from_base, to_base) / np.linalg.norm(from_base) / np.linalg.norm(to_base)
    assert first["cosine"] == pytest.approx(cosine)
    assert (second["after"]["norm"], second["cosine"]) == (0.0, None)


def test_facts_shown_are_limited_and_weights_can_be_left_out(api: Api, versions: None) -> None:
    found = api.http.get(f"/v1/models/{MODEL}/diff?from=v0&to=v2&limit=1&weights=false").json()
    assert (found["facts_added"]["total"], len(found["facts_added"]["data"]), found["layers"]) == (3, 1, [])


def test_weights_are_computed_once(api: Api, versions: None, database: Database) -> None:
    first = api.http.get(f"/v1/models/{MODEL}/diff?from=v1&to=v2").json()
    with database.reading() as session:
        blob = lineage.get(session, MODEL, 2).blob
    assert blob is not None
    api.resources.blobs.path(blob).unlink()  # type: ignore[attr-defined]
    assert api.http.get(f"/v1/models/{MODEL}/diff?from=v1&to=v2").json() == first
    with pytest.raises(BlobMissingError):
        api.resources.blobs.get(blob)


@pytest.mark.parametrize("damaged", [None, b"", b"not what its name says"])
def test_a_damaged_delta_is_said_and_facts_are_still_told(
    api: Api, versions: None, database: Database, damaged: bytes | None
) -> None:
    with database.reading() as session:
        blob = lineage.get(session, MODEL, 2).blob
    path = api.resources.blobs.path(blob)  # type: ignore[attr-defined]
    path.unlink() if damaged is None else (path.chmod(0o600), path.write_bytes(damaged))

    answer = api.http.get(f"/v1/models/{MODEL}/diff?from=v0&to=v2")

    assert (answer.status_code, answer.json()["code"]) == (503, "blob_missing" if damaged is None else "blob_corrupt")
    assert str(blob) in answer.json()["detail"]
    found = api.http.get(f"/v1/models/{MODEL}/diff?from=v0&to=v2&weights=false")
    assert found.json()["facts_added"]["total"] == 3


def test_what_is_too_large_is_refused(api: Api, versions: None) -> None:
    object.__setattr__(api.resources, "diffs", WeightDiffs(api.resources.blobs, most_bytes=100))
    answer = api.http.get(f"/v1/models/{MODEL}/diff?from=v1&to=v2")
    assert (answer.status_code, answer.json()["code"]) == (413, "diff_too_large")
    assert "weights=false" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("from=v1&to=v9", 404, "v0 to v4"),
        ("from=best&to=v1", 404, "aliases: latest"),
        ("from=v1", 422, "query.to"),
    ],
)
def test_what_does_not_exist_is_named(api: Api, versions: None, query: str, status: int, says: str) -> None:
    answer = api.http.get(f"/v1/models/{MODEL}/diff?{query}")
    assert answer.status_code == status
    assert says in answer.text
