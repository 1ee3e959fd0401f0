"""Copy what other folders own and the manifests need: kustomize reads nothing outside its own folder.

python kubernetes/copies.py           writes what has changed
python kubernetes/copies.py --check   exits 1 and names what is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import yaml

HERE: Final = Path(__file__).parent
DOCKER: Final = HERE.parent / "docker"
RULES: Final = ("recording", "alerts")


def prometheus_rule() -> str:
    """The rules of docker/prometheus as one object of the Prometheus operator."""
    groups = [
        group
        for name in RULES
        for group in yaml.safe_load((DOCKER / f"prometheus/rules/{name}.yml").read_text())["groups"]
    ]
    document: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "emmetd"},
        "spec": {"groups": groups},
    }
    header = "# Made by kubernetes/copies.py from docker/prometheus/rules: change it there.\n"
    return header + yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)


def copies() -> dict[Path, str]:
    """Path → what the file should hold."""
    names = ("valkey.conf", "start.sh", "health.sh")
    found = {HERE / "base" / "redis" / name: (DOCKER / "redis" / name).read_text() for name in names}
    return {**found, HERE / "components" / "monitoring" / "prometheus-rule.yaml": prometheus_rule()}


def main(arguments: list[str]) -> int:
    stale = {path: text for path, text in copies().items() if not path.exists() or path.read_text() != text}
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(HERE)} is out of date; run: python kubernetes/copies.py", file=sys.stderr)
        return 1 if stale else 0
    for path, text in stale.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
