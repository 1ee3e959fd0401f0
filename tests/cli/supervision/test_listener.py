"""The listening socket: what is taken or wrong is refused with the remedy."""

from __future__ import annotations

import pytest

from cli.supervision.listener import listen, url_of
from cli.terminal.errors import PortInUseError


def test_a_taken_port_is_refused_by_number() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"port {port} on 127.0.0.1 is in use.*--port"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_an_address_that_is_not_ours_is_refused_by_name(host: str) -> None:
    with pytest.raises(PortInUseError, match=rf"{host}.*--host"):
        listen(host, 0)


def test_the_url_can_be_reached_from_here() -> None:
    with listen("0.0.0.0", 0) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
