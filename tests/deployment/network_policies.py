"""Who may talk to whom, by the network policies: what the cluster makes of them, for tests that ask."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from tests.deployment.manifests import Manifest

NAME = "app.kubernetes.io/name"


def may_reach(manifests: Iterable[Manifest], name: str, port: int, *, namespace: str | None, address: str) -> bool:
    """Whether pods called `name` may open a TCP connection to a pod in `namespace`, or outside where that is None."""
    for manifest in manifests:
        spec = manifest["spec"] if manifest["kind"] == "NetworkPolicy" else {}
        if "Egress" not in spec.get("policyTypes", ()) or not _selects(spec["podSelector"], {NAME: name}):
            continue
        for rule in spec.get("egress", ()):
            ports = rule.get("ports")
            if ports is not None and {"protocol": "TCP", "port": port} not in ports:
                continue
            if "to" not in rule or any(_is_peer(peer, namespace, address) for peer in rule["to"]):
                return True
    return False


def _is_peer(peer: Mapping[str, Any], namespace: str | None, address: str) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        there = ipaddress.ip_address(address)
        return there in ipaddress.ip_network(block["cidr"]) and not any(
            there in ipaddress.ip_network(left_out) for left_out in block.get("except", ())
        )
    if "namespaceSelector" not in peer:
        return False  # pods of emmetd's own namespace
    labels = {"kubernetes.io/metadata.name": namespace}
    return namespace is not None and "podSelector" not in peer and _selects(peer["namespaceSelector"], labels)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Whether a pod or namespace with `labels` is meant; an empty selector means all."""
    given = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return given and all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", ())
    )
