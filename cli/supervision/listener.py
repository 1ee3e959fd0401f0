"""The socket that the API answers on. The supervisor owns it, so that a restart of the API refuses no connection."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Final

from cli.terminal.errors import PortInUseError

_BACKLOG: Final = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. Raises `PortInUseError` naming the remedy."""
    address = host.strip("[]")
    try:
        family, _, _, _, sockaddr = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
    except OSError as error:
        raise PortInUseError(f"host {host!r} is no address ({error}); choose another with --host") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(sockaddr)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} on {host} is in use; stop what listens there, or choose another port with --port"
        elif error.errno == errno.EADDRNOTAVAIL:
            message = f"host {host!r} is not an address of this machine; choose another with --host"
        else:
            message = f"cannot listen on {host} port {port} ({error.strerror}); choose another with --host and --port"
        raise PortInUseError(message) from None
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can reach `listener`."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def url_of(listener: socket.socket) -> str:
    """The URL at which this machine reaches `listener`."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def free_port(host: str, after: int) -> int:
    """The first port above `after` on which nothing listens now."""
    for port in range(after + 1, min(after + 100, 65536)):
        try:
            listen(host, port).close()
        except PortInUseError:
            continue
        return port
    with listen(host, 0) as listener:
        return int(listener.getsockname()[1])
