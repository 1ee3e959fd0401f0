"""Facts that no one means, to a running server: refused or edited, and nothing breaks. The long run is
`python -m tests.acceptance.odd_facts`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.support.running.odd_bodies import MEGABYTE, Sent, bodies
from tests.support.running.onslaught import Onslaught
from tests.support.running.server import MODEL, Server
from tests.support.running.unharmed import Unharmed

EXAMPLES = 80
NO_LIMITS = {"key_requests_per_minute": 0, "key_facts_per_day": 0, "key_open_batches": 0}


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("odd-facts") / "data"
    with Server(tiny_model, data, api_key="open-sesame", max_body_bytes=20 * MEGABYTE, **NO_LIMITS) as server:
        yield server


def test_nothing_breaks_whatever_is_sent(server: Server) -> None:
    unharmed, onslaught = Unharmed(server, MODEL), Onslaught(server.http)

    @settings(
        max_examples=EXAMPLES,
        database=None,
        phases=[Phase.generate],  # shrinking would take minutes; the failing body is shown as it is
        suppress_health_check=list(HealthCheck),
    )
    @given(bodies(MODEL))
    def send(sent: Sent) -> None:
        assert onslaught.send(sent) == []

    send()
    assert unharmed.violations(patience_seconds=120) == []
    assert onslaught.answers["202"] > EXAMPLES / 20, onslaught.answers
    assert len(onslaught.answers) >= 3, onslaught.answers
