"""Where webhooks may go: public addresses, and networks that the operator has allowed.

Looked at when a receiver is registered, and again on the very addresses that are connected to: a name may lead
elsewhere by then. Without it, whoever may register a receiver could have this server knock on the doors of its own
network, such as a cloud's metadata service.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from configuration.access_settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]

_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(one)
    for one in (
        "192.0.0.0/24",  # IETF protocols; a cloud has its metadata there
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b:1::/48",  # local translation to IPv4
        "2001::/32",  # Teredo
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local
    )
)
"""Besides what `ipaddress` calls private, loopback, link-local, reserved or multicast; older releases know fewer."""
_6TO4: Final = ipaddress.ip_network("2002::/16")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class AddressRefusedError(Exception):
    """Nothing is sent there; says why, and what would do. Names the host and no more of the address."""


@dataclass(frozen=True)
class Target:
    """A receiver's address, taken apart."""

    host: str
    port: int
    is_secure: bool


def resolved(host: str, port: int) -> list[str]:
    """What the system's resolver says, each address once. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class AddressGuard:
    """`allowed` are the operator's own networks that may be sent to, also without TLS."""

    allowed: Sequence[Network] = ()
    resolve: Resolve = resolved

    def check(self, url: str) -> Target:
        """Raises AddressRefusedError for what could not be sent to now."""
        target = read_url(url)
        self.addresses(target)
        return target

    def addresses(self, target: Target) -> list[Address]:
        """What the host means now, to be connected to. Raises AddressRefusedError where any of it may not be."""
        try:
            found = [_plain(text) for text in self.resolve(target.host, target.port)]
        except (OSError, UnicodeError, ValueError):
            found = []
        if not found:
            raise AddressRefusedError(f"{target.host[:100]!r} is not known to the name service; look for a slip")
        for address in found:
            ours = any(address in network for network in self.allowed)
            if not ours and not is_public(address):
                raise AddressRefusedError(
                    f"{target.host[:100]!r} is {address}, which is no public address; send to a public one, or let the "
                    "operator add its network to EMMETD_WEBHOOK_NETWORKS"
                )
            if not ours and not target.is_secure:
                raise AddressRefusedError(
                    f"http:// to {target.host[:100]!r} could be read on its way; write https://, http:// is for "
                    "networks in EMMETD_WEBHOOK_NETWORKS"
                )
        return found


def read_url(url: str) -> Target:
    """Raises AddressRefusedError for what is no plain http:// or https:// address."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise AddressRefusedError("holds characters that no URL has; write names in punycode, and escape the rest")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressRefusedError(f"cannot be read as a URL: {error}") from None
    _check_parts(parts)
    is_secure = parts.scheme == "https"
    return Target(parts.hostname or "", port or (443 if is_secure else 80), is_secure)


def _check_parts(parts: SplitResult) -> None:
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AddressRefusedError("must begin with https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise AddressRefusedError("has a user or password in it; what was sent is proven by its signature")
    if parts.fragment:
        raise AddressRefusedError("has a fragment (#…), which is never sent; leave it out")
    if parts.port == 0:
        raise AddressRefusedError("has port 0, where nothing listens")


def is_public(address: Address) -> bool:
    """Whether anybody on the Internet could be reached so. IPv4 inside of IPv6 is looked at as what it is."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inside(address)
        if inner is not None:
            return is_public(inner)
    if any(address.version == network.version and address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inside(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _6TO4:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _plain(text: str) -> Address:
    """Mapped IPv4 as IPv4, and without the zone of a link-local address."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
