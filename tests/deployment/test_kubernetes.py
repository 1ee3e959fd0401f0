"""The Kubernetes manifests: they build, they fit together, and no pod has more rights than it needs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from tests.deployment.compose_file import document, services
from tests.deployment.manifests import (
    FOLDER,
    OVERLAYS,
    WORKLOADS,
    added_by,
    built,
    named,
    of_kind,
    pod,
    scaling_queries,
)
from tests.deployment.metric_names import exposed, used
from tests.support.programs import missing

KUBERNETES = "1.33"
CUSTOM = {"PodMonitor", "Probe", "PrometheusRule", "ScaledObject"}
overlays = pytest.mark.parametrize("overlay", OVERLAYS)
every_overlay = pytest.mark.parametrize("overlay", [*OVERLAYS, "second-model"])


def test_the_copies_of_other_folders_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "copies.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@every_overlay
def test_the_schema_of_kubernetes_knows_every_field(overlay: str) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        missing("Kubernetes's schema", "pip install kubernetes-validate")
    import kubernetes_validate

    for manifest in built(overlay):
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_schema_of_kubernetes_knows_every_field_of_the_housekeeping() -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        missing("Kubernetes's schema", "pip install kubernetes-validate")
    import kubernetes_validate

    for manifest in added_by("housekeeping"):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_housekeeping_is_that_of_the_compose_file_and_off_unless_it_is_asked_for() -> None:
    found = {manifest["kind"]: manifest for manifest in added_by("housekeeping")}
    assert found.keys() == {"CronJob", "NetworkPolicy", "PersistentVolumeClaim"}
    assert not of_kind("cpu", "CronJob")
    service, spec = services()["housekeeping"], pod(found["CronJob"])
    (container,) = spec["containers"]
    assert container["image"] == service["image"]
    assert [*container["args"], "--daily"] == service["command"], "Kubernetes has the clock"
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    assert given.items() <= service["environment"].items()
    hour, minute = map(int, service["environment"]["HOUSEKEEPING_AT"].split(":"))
    schedule = found["CronJob"]["spec"]
    assert (schedule["schedule"], schedule["timeZone"]) == (f"{minute} {hour} * * *", "Etc/UTC")
    (secret,) = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
    assert [item["key"] for item in secret["items"]] == service["secrets"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {volume.rpartition(":")[2] for volume in service["volumes"]} <= mounted
    claims = [one["persistentVolumeClaim"]["claimName"] for one in spec["volumes"] if "persistentVolumeClaim" in one]
    assert claims == ["blobs", found["PersistentVolumeClaim"]["metadata"]["name"]]
    policy = found["NetworkPolicy"]["spec"]
    labels = found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["egress"] == named("cpu", "NetworkPolicy", "to-database")["spec"]["egress"]


@overlays
def test_every_pod_keeps_to_the_restricted_profile(overlay: str) -> None:
    namespace = named(overlay, "Namespace", "emmetd")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    nightly = [manifest for manifest in added_by("housekeeping") if manifest["kind"] == "CronJob"]
    for workload in (*of_kind(overlay, *WORKLOADS), *nightly):
        spec = pod(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for volume in spec["volumes"]:
            assert "hostPath" not in volume
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= container["resources"].keys()
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys()


@overlays
def test_what_runs_for_ever_is_probed(overlay: str) -> None:
    for workload in of_kind(overlay, "Deployment", "StatefulSet"):
        for container in pod(workload)["containers"]:
            assert {"startupProbe", "livenessProbe"} <= container.keys()
    for name in ("api", "redis"):
        kind = "Deployment" if name == "api" else "StatefulSet"
        assert "readinessProbe" in pod(named(overlay, kind, name))["containers"][0]


@overlays
def test_images_and_commands_are_those_of_the_compose_file(overlay: str) -> None:
    for kind, name, service in (
        ("Deployment", "api", "api"),
        ("Job", "migrate", "migrate"),
        ("StatefulSet", "worker", f"worker-{overlay}"),
        ("StatefulSet", "redis", "redis"),
    ):
        container = pod(named(overlay, kind, name))["containers"][0]
        assert container["image"].removeprefix("registry.example.com/") == services()[service]["image"]
        command = services()[service].get("command", ["emmetd", "worker"])
        assert container.get("command", container.get("args")) == command


@overlays
def test_pods_are_given_the_secrets_of_their_service_and_no_others(overlay: str) -> None:
    known = document()["secrets"].keys()
    for kind, name, service in (
        ("Deployment", "api", "api"),
        ("Job", "migrate", "migrate"),
        ("StatefulSet", "worker", "worker-cpu"),
        ("StatefulSet", "redis", "redis"),
    ):
        (secret,) = [volume["secret"] for volume in pod(named(overlay, kind, name))["volumes"] if "secret" in volume]
        given = [item["key"] for item in secret["items"]]
        assert sorted(given) == sorted(services()[service]["secrets"])
        assert set(given) <= known
        assert secret["defaultMode"] == 0o440
    assert not of_kind(overlay, "Secret"), "secrets are made where they are used"


@overlays
def test_nobody_talks_to_anybody_without_a_policy(overlay: str) -> None:
    assert named(overlay, "NetworkPolicy", "default-deny")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    redis = named(overlay, "NetworkPolicy", "to-redis")["spec"]["ingress"]
    assert len(redis) == 1
    assert "redis" not in json.dumps(named(overlay, "NetworkPolicy", "monitoring")["spec"])


@overlays
def test_names_that_refer_to_others_exist(overlay: str) -> None:
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in built(overlay)}
    for scaler in of_kind(overlay, "ScaledObject", "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in names
        assert "replicas" not in named(overlay, target["kind"], target["name"])["spec"], "two would say how many"
    for workload in of_kind(overlay, *WORKLOADS):
        for volume in pod(workload)["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
    ports = {
        (workload["metadata"]["name"], port["name"])
        for workload in of_kind(overlay, "Deployment", "StatefulSet")
        for port in pod(workload)["containers"][0]["ports"]
    }
    for service in of_kind(overlay, "Service"):
        for port in service["spec"]["ports"]:
            assert (service["spec"]["selector"]["app.kubernetes.io/name"], port["targetPort"]) in ports
    for monitor in of_kind(overlay, "PodMonitor"):
        selected = monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        assert (selected, monitor["spec"]["podMetricsEndpoints"][0]["port"]) in ports


def test_workers_on_gpus_get_one_each() -> None:
    container = pod(named("cuda", "StatefulSet", "worker"))["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "EMMETD_DEVICE", "value": "cuda"} in container["env"]
    assert "nvidia.com/gpu" not in pod(named("cpu", "StatefulSet", "worker"))["containers"][0]["resources"]["limits"]


def test_the_autoscaler_looks_at_the_queues_of_the_served_model() -> None:
    container = pod(named("cpu", "StatefulSet", "worker"))["containers"][0]
    for query in scaling_queries():
        assert used(query) <= exposed()
        assert ":smollm2-135m" in query
    assert {"name": "EMMETD_MODEL", "value": "smollm2-135m"} in container["env"]


def test_workers_of_a_second_model_are_told_apart_and_share_the_rest() -> None:
    first, second = named("cpu", "StatefulSet", "worker"), named("second-model", "StatefulSet", "worker-second")
    assert first["spec"]["selector"]["matchLabels"].items() - second["spec"]["selector"]["matchLabels"].items()
    assert second["spec"]["serviceName"] == named("second-model", "Service", "worker-second")["metadata"]["name"]
    models = [
        next(variable["value"] for variable in pod(found)["containers"][0]["env"] if variable["name"] == "EMMETD_MODEL")
        for found in (first, second)
    ]
    assert models[0] != models[1]
    assert pod(second)["volumes"] == pod(first)["volumes"]
    # The policies of the first reach them.
    policy = named("cpu", "NetworkPolicy", "from-api-and-worker")["spec"]["podSelector"]["matchExpressions"][0]
    assert second["spec"]["template"]["metadata"]["labels"][policy["key"]] in policy["values"]
