"""Where a request comes from, and whether it was meant for this server."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from configuration.access_settings import Network
from service.errors import ForbiddenError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_address(connection: HTTPConnection, trusted: Sequence[Network]) -> str | None:
    """The client's address: the peer's, or where that is a trusted proxy, the last in X-Forwarded-For that is not one.

    What stands further to the left was written by whoever asked.
    """
    peer = _address(connection.client.host) if connection.client else None
    if peer is None or not _is_in(peer, trusted):
        return None if peer is None else str(peer)
    forwarded = ",".join(connection.headers.getlist("x-forwarded-for"))
    found = peer
    for text in reversed(forwarded.split(",")):
        address = _address(text.strip())
        if address is None:
            break
        found = address
        if not _is_in(address, trusted):
            break
    return str(found)


def check_is_local(connection: HTTPConnection, allowed_origins: Sequence[str]) -> None:
    """For a server without keys: only this machine may ask, and no page that its browser shows.

    A page of another site can send requests to loopback, and with a name that it lets point there it could read the
    answers. Raises ForbiddenError where the Host or the Origin is not this machine's own.
    """
    host = connection.headers.get("host", "")
    if not _is_loopback(f"//{host}"):
        raise ForbiddenError(
            f"the Host header is {host[:100]!r}: without API keys only requests to localhost are answered; "
            "ask for http://127.0.0.1, or start the server with EMMETD_API_KEY or EMMETD_AUTH=on"
        )
    origin = connection.headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", *allowed_origins):
        raise ForbiddenError(
            f"the Origin header is {origin[:100]!r}: without API keys no page of another origin is answered; "
            "name it in EMMETD_CORS_ORIGINS where it is yours"
        )


def _is_loopback(url: str) -> bool:
    try:
        name = urlsplit(url).hostname or ""
    except ValueError:
        return False
    address = _address(name)
    return address.is_loopback if address is not None else name == "localhost"


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _address(text: str) -> Address | None:
    """`text` as an address; a port behind it, as some proxies write, is left away."""
    bare = text
    if text.startswith("["):
        bare = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        bare = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
