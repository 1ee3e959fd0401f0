"""Hosts on a network: each is a network namespace with a cable to a switch, and the test has a cable of its own."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import pytest

from tests.support.programs import program


@dataclass(frozen=True)
class Host:
    """`name` is what processes on it take for its host name, and `address` where the others reach it."""

    name: str
    address: str
    namespace: str
    switch: str

    @property
    def within(self) -> list[str]:
        """What a command begins with that is to run on this host."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return ["ip", "netns", "exec", self.namespace, *named]

    def cut_off(self) -> None:
        """Nothing reaches it and nothing leaves it, and neither side is told."""
        _ip("-n", self.switch, "link", "set", self.name, "down")

    def reconnect(self) -> None:
        _ip("-n", self.switch, "link", "set", self.name, "up")


class Network:
    """One switch. Its addresses are of the block that is kept for tests of networks (RFC 2544), in use nowhere."""

    def __init__(self) -> None:
        self._name = f"emmetd-{secrets.token_hex(3)}"
        self._cable = self._name.replace("emmetd-", "emmetd")
        self._prefix = f"198.{random.choice((18, 19))}.{random.randrange(256)}"
        self._namespaces: list[str] = []

    def __enter__(self) -> Self:
        try:
            self._switch = self._namespace("switch")
            _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "bridge", "up")
            _ip("link", "add", self._cable, "type", "veth", "peer", "name", "desk", "netns", self._switch)
            self._plug_in("desk")
            _ip("address", "add", f"{self._prefix}.254/24", "dev", self._cable)
            _ip("link", "set", self._cable, "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Both ends of a cable go with the namespace that has one of them."""
        for namespace in reversed(self._namespaces):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", namespace)

    def host(self, name: str) -> Host:
        """A new one."""
        namespace = self._namespace(name)
        address = f"{self._prefix}.{len(self._namespaces)}"
        _ip("-n", self._switch, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        self._plug_in(name)
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        for interface in ("lo", "eth0"):
            _ip("-n", namespace, "link", "set", interface, "up")
        return Host(name, address, namespace, self._switch)

    def _namespace(self, name: str) -> str:
        namespace = f"{self._name}-{name}"
        _ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        return namespace

    def _plug_in(self, port: str) -> None:
        _ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")


def require_hosts() -> None:
    """Skip the test where no host can be made; where tools are required, one that is missing fails it."""
    for name in ("ip", "unshare", "hostname"):
        program(name)
    if os.geteuid() != 0:
        pytest.skip("only root may make network namespaces; run this test as root")
    try:
        with Network() as network:
            subprocess.run([*network.host("probe").within, "true"], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no host can be made here: {error.cmd} says {error.stderr.strip()}")


def _ip(*words: str) -> None:
    command = [shutil.which("ip") or "ip", *words]
    subprocess.run(command, check=True, capture_output=True, text=True)
