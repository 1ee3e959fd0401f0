"""Components that an overlay may have: the object store and the collector, and the way to both through the policies."""

from __future__ import annotations

import importlib.util

import pytest

from configuration.settings import load_settings
from tests.deployment.compose_file import s3_document
from tests.deployment.manifests import FOLDER, Manifest, built_with, pod
from tests.deployment.network_policies import may_reach
from tests.support.programs import missing

OUTSIDE, CREDENTIALS = "203.0.113.7", "169.254.169.254"
S3 = ("housekeeping", "s3")


def workload(manifests: tuple[Manifest, ...], name: str) -> Manifest:
    kinds = {"api": "Deployment", "worker": "StatefulSet", "housekeeping": "CronJob", "migrate": "Job"}
    (found,) = [one for one in manifests if (one["kind"], one["metadata"]["name"]) == (kinds[name], name)]
    return found


def environment(manifest: Manifest) -> dict[str, str]:
    (container,) = pod(manifest)["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


def secrets(manifest: Manifest) -> set[str]:
    (volume,) = [volume["secret"] for volume in pod(manifest)["volumes"] if "secret" in volume]
    return {item["key"] for item in volume["items"] if item["path"] == item["key"]}


@pytest.mark.parametrize("components", [S3, ("s3",), ("tracing",), ("webhooks",), (*S3, "tracing")])
def test_the_schema_of_kubernetes_knows_every_field(components: tuple[str, ...]) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        missing("Kubernetes's schema", "pip install kubernetes-validate")
    import kubernetes_validate

    for manifest in built_with(*components):
        if "." not in manifest["apiVersion"] or manifest["apiVersion"].partition("/")[0].endswith("k8s.io"):
            kubernetes_validate.validate(manifest, "1.33", strict=True)


@pytest.mark.parametrize("name", ["api", "worker", "housekeeping"])
def test_with_s3_the_way_to_the_store_is_open_and_without_it_closed(name: str) -> None:
    ports = {"api": (), "worker": (443,), "housekeeping": ()}[name]
    for port in (443, 9000):
        before = may_reach(built_with("housekeeping"), name, port, namespace=None, address=OUTSIDE)
        assert before == (port in ports), "workers fetch models over HTTPS"
        assert may_reach(built_with(*S3), name, port, namespace=None, address=OUTSIDE)
        assert not may_reach(built_with(*S3), name, port, namespace=None, address=CREDENTIALS)
    assert not may_reach(built_with(*S3), name, 80, namespace=None, address=OUTSIDE)


@pytest.mark.parametrize("name", ["redis", "migrate"])
def test_nobody_else_may_go_there(name: str) -> None:
    manifests = built_with(*S3, "tracing")
    assert not any(may_reach(manifests, name, port, namespace=None, address=OUTSIDE) for port in (443, 9000))
    assert not may_reach(manifests, name, 4318, namespace="monitoring", address="10.0.0.1")


@pytest.mark.parametrize("name", ["api", "worker", "housekeeping"])
def test_with_s3_nothing_is_left_of_the_volume_and_the_keys_are_files(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = built_with(*S3)
    assert not [
        one for one in manifests if (one["kind"], one["metadata"]["name"]) == ("PersistentVolumeClaim", "blobs")
    ]
    found, plain = workload(manifests, name), workload(built_with("housekeeping"), name)
    (container,) = pod(found)["containers"]
    assert "blobs" not in {volume["name"] for volume in pod(found)["volumes"]}
    assert "blobs" not in {mount["name"] for mount in container["volumeMounts"]}
    others = [volume for volume in pod(plain)["volumes"] if volume["name"] not in ("blobs", "secrets")]
    assert [volume for volume in pod(found)["volumes"] if volume["name"] != "secrets"] == others
    assert secrets(found) - secrets(plain) == {"emmetd_s3_access_key_id", "emmetd_s3_secret_access_key"}
    assert secrets(plain) < secrets(found)
    given = environment(found)
    assert given.items() >= s3_document()["services"]["api"]["environment"].items()
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    assert load_settings().blob_url == "s3://emmetd/blobs"


@pytest.mark.parametrize("name", ["api", "worker"])
def test_with_tracing_spans_find_their_collector(name: str) -> None:
    manifests = built_with("tracing")
    assert environment(workload(manifests, name))["EMMETD_OTLP_ENDPOINT"] == "http://otel-collector.monitoring:4318"
    assert may_reach(manifests, name, 4318, namespace="monitoring", address="10.0.0.1")
    assert not may_reach(built_with(), name, 4318, namespace="monitoring", address="10.0.0.1")
    assert not may_reach(manifests, name, 4318, namespace="default", address="10.0.0.1")


def test_workers_of_a_second_model_take_both_components() -> None:
    manifests = built_with("s3", "tracing", overlay="second-model")
    (worker,) = [one for one in manifests if one["kind"] == "StatefulSet"]
    assert {"EMMETD_BLOB_URL", "EMMETD_OTLP_ENDPOINT"} <= environment(worker).keys()
    assert "emmetd_s3_access_key_id" in secrets(worker)
    assert may_reach(manifests, "worker", 9000, namespace=None, address=OUTSIDE)


def test_each_component_is_explained() -> None:
    page = (FOLDER.parent / "docs" / "operations" / "kubernetes.md").read_text()
    for folder in (FOLDER / "components").iterdir():
        assert f"`{folder.name}`" in page, f"docs/operations/kubernetes.md says nothing of {folder.name}"
