"""What tests of several packages stand on: a real queue server, a real database, and where marked the real model."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
import redis
import structlog

from cli.supervision.private_redis import PrivateRedis, prepare_private_redis
from cli.supervision.tethered import tethered
from store.schema.database import migrate
from tests.support.postgres import Cluster, Databases, require_postgres
from tests.support.s3_server import Bucket, S3Server
from tests.support.schedule import is_never_quick, left_out_of_quick, path_below, place_in_order

# A deadline for each example would fail on a machine that is busy, not on code that is wrong.
hypothesis.settings.register_profile("emmetd", deadline=None)
hypothesis.settings.load_profile("emmetd")

FOLDER = Path(__file__).parent

BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
"""Run a test, or with `pytestmark` a module, on each of the databases."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out tests that start servers or are long, and families of models that others stand for",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: to look through it for garbage again and again takes a tenth of the time of imports."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What `--quick` leaves out as a whole is not even imported: each process would spend seconds on it."""
    if not config.getoption("--quick") or not collection_path.is_relative_to(FOLDER):
        return None
    return is_never_quick(collection_path.relative_to(FOLDER).as_posix()) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow files first, so that none of them is left to one process in the end; `--quick` leaves some out."""
    items.sort(key=lambda item: place_in_order(path_below(item, FOLDER)))
    if config.getoption("--quick"):
        left_out = left_out_of_quick(items, FOLDER)
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    """Without its configuration structlog writes to standard output, among what a command prints, and draws tracebacks
    with every local variable, which takes half a minute each where these are tensors."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def _redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    server = prepare_private_redis(tmp_path_factory.mktemp("redis"))
    process = subprocess.Popen(tethered(server.command), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        asyncio.run(server.answers())
        yield server
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def redis_server(_redis_process: PrivateRedis) -> PrivateRedis:
    """A real server with a password (`.url`), empty at the start of each test. `emmetd serve` starts the same one."""
    with redis.Redis.from_url(_redis_process.url) as client:
        client.flushall()
    return _redis_process


@pytest.fixture(scope="session")
def _migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "template.sqlite3"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[Databases]:
    """A PostgreSQL of this session's own, and databases in it."""
    require_postgres()
    cluster = Cluster()
    try:
        cluster.start()
        yield Databases(cluster)
    finally:
        cluster.close()


@pytest.fixture
def database_url(request: pytest.FixtureRequest, _migrated_database: Path, tmp_path: Path) -> Iterator[str]:
    """URL of the test's own database, with all tables and no rows: an SQLite file unless BOTH_DATABASES says so."""
    if getattr(request, "param", "sqlite") == "postgresql":
        databases: Databases = request.getfixturevalue("postgres_databases")
        with databases.new() as url:
            yield url
        return
    path = tmp_path / "emmetd.sqlite3"
    shutil.copyfile(_migrated_database, path)
    yield f"sqlite:///{path}"


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def bucket(_s3_server: S3Server) -> Bucket:
    """The test's own bucket of a server that speaks S3's protocol."""
    return _s3_server.new_bucket()


@pytest.fixture(scope="session")
def default_model(pytestconfig: pytest.Config) -> Path:
    """Folder of the real default model, for tests marked `model`.

    The folder EMMETD_TEST_MODEL, or what `emmetd serve` would fetch, kept in pytest's cache folder.
    """
    if named := os.environ.get("EMMETD_TEST_MODEL"):
        return Path(named)
    from configuration.model_settings import DEFAULT_MODEL
    from editing.errors import ModelLoadError
    from editing.model.loading import prepare_model

    assert pytestconfig.cache is not None
    try:
        return prepare_model(DEFAULT_MODEL, cache=pytestconfig.cache.mkdir("emmetd-models"))
    except ModelLoadError as error:
        pytest.skip(f"the default model is not to be had here, name its folder in EMMETD_TEST_MODEL: {error}")
