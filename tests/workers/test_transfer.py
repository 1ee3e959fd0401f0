"""A version that came from another store is served there bit for bit, and can be edited and reverted on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from api_schemas.references import parse_reference
from store.access.audit import Actor
from store.schema.database import migrate
from store.upkeep.bundles import open_bundle
from store.upkeep.transfer import pull, push
from tests.support.saved_models import facts
from tests.workers.conftest import MODEL, Loaded, Place, opened
from tests.workers.reverting.test_revert import ANY, revert


def test_it_goes_on_where_it_arrives(two_versions: Place, tmp_path: Path, load: Callable[[str], Loaded]) -> None:
    bundle = open_bundle(str(tmp_path / "bundle"))
    push(two_versions.database, two_versions.blobs, bundle, parse_reference(MODEL))
    wanted = {number: two_versions.cache().get(number)[1] for number in (1, 2)}
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    migrate(f"sqlite:///{folder}/emmetd.sqlite3")
    with opened(load("llama"), folder) as place:
        pull(place.database, place.blobs, bundle, f"{MODEL}@v2", Actor("cli:ada"))
        for number, matrix in wanted.items():
            assert torch.equal(place.cache().get(number)[1], matrix)
        batch = place.edit(facts(2, first=4), reference=f"{MODEL}@v2", thresholds=ANY)
        assert (batch.state, batch.version, place.version(3).parent) == ("succeeded", 3, 2)
        taken_out = revert(place, 0, of=1, reference=f"{MODEL}@v3")
        assert (taken_out.state, place.version(4).total_facts) == ("succeeded", 5)
