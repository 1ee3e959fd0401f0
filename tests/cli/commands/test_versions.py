"""`emmetd versions`: versions carried from one data folder to another, and garbage collected, as a person sees it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from store.blobs.opening import open_blob_store
from store.schema.database import migrate
from tests.store.upkeep.test_transfer import Store, stores
from tests.support.s3_server import Bucket

__all__ = ["stores"]

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, stores: tuple[Store, Store], tmp_path: Path) -> Run:
    """Run a command on the data folder `here` or `there`."""
    for name in os.environ:
        if name.startswith(("EMMETD_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")

    def _run(where: str, *words: str) -> Result:
        monkeypatch.setenv("EMMETD_DATABASE_URL", f"sqlite:///{tmp_path / where}/db.sqlite3")
        monkeypatch.setenv("EMMETD_DATA", str(tmp_path / where))
        return CliRunner().invoke(app, ["versions", *words])

    return _run


def test_a_version_is_carried_in_a_folder(run: Run, stores: tuple[Store, Store], tmp_path: Path) -> None:
    folder = str(tmp_path / "bundle")
    pushed = run("here", "push", "tiny@v2", folder)
    assert pushed.exit_code == 0, pushed.output
    assert pushed.output == f"pushed tiny@v2 with its lineage of 2 to {folder}: 5 blobs of 0.0 MiB copied\n"
    pulled = run("there", "pull", folder)
    assert pulled.output == "pulled tiny@v2 as tiny@v2 (new: v1, v2); 5 blobs of 0.0 MiB copied\n"
    assert stores[1].said(2) == stores[0].said(2)
    assert run("there", "pull", folder).output == "tiny@v2 is here already; 0 blobs of 0.0 MiB copied\n"


def test_a_version_is_carried_through_a_bucket_into_blobs_in_another(
    run: Run, stores: tuple[Store, Store], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMMETD_S3_ENDPOINT", bucket.access.endpoint or "")
    monkeypatch.setenv("EMMETD_S3_REGION", bucket.access.region or "")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.access.access_key_id or "")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.access.secret_access_key or "")
    assert run("here", "push", "tiny@latest", f"{bucket.url}/bundle").exit_code == 0
    monkeypatch.setenv("EMMETD_BLOB_URL", f"{bucket.url}/store")
    pulled = run("there", "pull", f"{bucket.url}/bundle", "tiny@v4", "--renumber", "--model-name", "other")
    assert pulled.output.startswith("pulled tiny@v4 as other@v3 (new: v1, v2, v3); 7 blobs")
    assert len(list(open_blob_store(f"{bucket.url}/store", bucket.access).entries())) == 7
    assert list(stores[1].blobs.entries()) == []
    assert bucket.access.secret_access_key not in pulled.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["push", "tiny@v9", "BUNDLE"], "model 'tiny' has no version v9; it has v0 to v4"),
        (["push", "Tiny", "BUNDLE"], "is not a model reference"),
        (["push", "tiny", "gs://bucket"], "give a folder, file:///folder or s3://bucket/prefix"),
        (["pull", "BUNDLE"], "has no versions in it"),
        (["pull", "BUNDLE", "tiny@v1"], "has no tiny@v1; its versions: none"),
        (["pull", "BUNDLE", "--model-name", "A/B"], "is not a model's NAME"),
        (["collect", "--grace", "5m"], "is not a time of at least an hour"),
        (["push", "tiny", "/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_a_mistake_is_told_in_one_message(run: Run, tmp_path: Path, words: list[str], says: str) -> None:
    result = run("here", *(word.replace("BUNDLE", str(tmp_path / "bundle")) for word in words))
    assert result.exit_code != 0
    assert says in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_a_bundle_of_several_versions_is_asked_about(run: Run, tmp_path: Path) -> None:
    for reference in ("tiny@v1", "tiny@v2"):
        assert run("here", "push", reference, str(tmp_path / "bundle")).exit_code == 0
    result = run("there", "pull", str(tmp_path / "bundle"))
    assert result.exit_code == 1
    assert "has tiny@v1, tiny@v2; say which" in result.output


def test_garbage_is_listed_then_deleted(run: Run, stores: tuple[Store, Store]) -> None:
    blobs = stores[0].blobs
    garbage, young = blobs.put(b"nobody's"), blobs.put(b"nobody's yet")
    week_ago = time.time() - 7 * 86400
    for one in list(blobs.entries()):
        if one.sha256 != young:
            os.utime(blobs.path(one.sha256), (week_ago, week_ago))
    looked = run("here", "collect", "--dry-run", "--grace", "2d")
    assert looked.output.splitlines()[0].split()[:2] == [garbage, "8"]
    assert looked.output.splitlines()[1] == "would delete 1 blob of 0.0 MiB and 0 exports; 10 blobs stay"
    assert blobs.exists(garbage)
    assert run("here", "collect", "--grace", "2w").output.startswith("deleted 0 blobs")
    assert run("here", "collect").output == "deleted 1 blob of 0.0 MiB and 0 exports; 10 blobs stay\n"
    assert not blobs.exists(garbage)
    assert stores[0].violations() == []


def test_collecting_waits_for_the_tables(run: Run, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    result = run("new", "collect")
    assert (result.exit_code, "emmetd migrate" in result.output) == (1, True)
    migrate(f"sqlite:///{tmp_path}/new/db.sqlite3")
    assert run("new", "collect").output == "deleted 0 blobs of 0.0 MiB and 0 exports; 0 blobs stay\n"
