"""The Kubernetes manifests as kustomize builds them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.deployment.compose_file import ROOT
from tests.support.programs import program

FOLDER: Final = ROOT / "kubernetes"
OVERLAYS: Final = ("cpu", "cuda")
WORKLOADS: Final = ("Deployment", "Job", "StatefulSet")

Manifest = dict[str, Any]


@cache
def built(overlay: str) -> tuple[Manifest, ...]:
    command = [program("kubectl"), "kustomize", FOLDER / "overlays" / overlay]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


@cache
def built_with(*components: str, overlay: str = "cpu") -> tuple[Manifest, ...]:
    """An overlay as it would be with some components more, in that order."""
    with tempfile.TemporaryDirectory() as folder:
        here = os.path.realpath(folder)
        listed = [os.path.relpath(FOLDER / "components" / component, here) for component in components]
        lines = [
            "apiVersion: kustomize.config.k8s.io/v1beta1",
            "kind: Kustomization",
            "namespace: emmetd",
            f"resources: [{os.path.relpath(FOLDER / 'overlays' / overlay, here)}]",
            f"components: [{', '.join(listed)}]",
        ]
        (Path(folder) / "kustomization.yaml").write_text("\n".join(lines))
        done = subprocess.run([program("kubectl"), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


@cache
def added_by(component: str) -> tuple[Manifest, ...]:
    """What a component adds to an overlay that does not have it."""
    there = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in built("cpu")}
    found = built_with(component)
    return tuple(manifest for manifest in found if (manifest["kind"], manifest["metadata"]["name"]) not in there)


def of_kind(overlay: str, *kinds: str) -> list[Manifest]:
    return [manifest for manifest in built(overlay) if manifest["kind"] in kinds]


def named(overlay: str, kind: str, name: str) -> Manifest:
    (found,) = [manifest for manifest in of_kind(overlay, kind) if manifest["metadata"]["name"] == name]
    return found


def pod(workload: Manifest) -> Manifest:
    spec = workload["spec"]["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else workload["spec"]
    found: Manifest = spec["template"]["spec"]
    return found


def scaling_queries() -> list[str]:
    """What the autoscaler of the workers asks Prometheus."""
    document = yaml.safe_load((FOLDER / "components" / "autoscaling" / "worker.yaml").read_text())
    return [trigger["metadata"]["query"] for trigger in document["spec"]["triggers"]]
