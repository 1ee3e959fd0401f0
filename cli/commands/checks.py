"""What `emmetd doctor` looks at: each check yields what it found, and what to do where that is not as it should be."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cli.supervision.private_redis import find_binary
from cli.terminal.errors import RedisBinaryError
from cli.terminal.memory_table import peaks
from configuration.errors import ConfigurationError
from configuration.redis.connection import make_redis
from configuration.settings import Settings
from configuration.sources import mask_url
from editing.errors import EditingError
from store.blobs.opening import open_blob_store
from store.errors import BlobError
from store.schema.database import Database, schema_is_current
from store.upkeep.availability import database_trouble, disk_trouble, probe_blobs, probe_database
from store.upkeep.integrity import Verified, violations

Level = Literal["ok", "warn", "fail"]

LITTLE_DISK_BYTES: Final = 2 * 1024**3
MOST_SKEW_SECONDS: Final = 1.0
_OLDEST_REDIS: Final = (6, 2)
_LIBRARIES: Final = ("torch", "transformers", "tokenizers", "safetensors", "sqlalchemy", "redis", "rq")


@dataclass(frozen=True)
class Finding:
    level: Level
    subject: str
    found: str
    remedy: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        return asdict(self)


def installation(settings: Settings) -> Iterator[Finding]:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("emmetd", *_LIBRARIES) if _installed(name)]
    yield Finding("ok", "installation", f"Python {platform.python_version()}, {', '.join(versions)}")
    for name in ("torch", "transformers"):
        if not _installed(name):
            yield Finding(
                "warn",
                "installation",
                f"{name} is missing: no worker can run here",
                "make setup installs it; an API needs none",
            )
    if settings.database_url.startswith("postgresql") and not _installed("psycopg"):
        yield Finding("fail", "installation", "psycopg is missing", "install the extra: pip install '.[postgres]'")


def disk(settings: Settings) -> Iterator[Finding]:
    """The folders that are used here, or where they would be made; each file system's space once."""
    by_system: dict[int, list[tuple[str, Path]]] = {}
    for use, folder, setting in _folders(settings):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            remedy = f"make it writable, mount a volume there, or choose another with {setting}"
            yield Finding("fail", "disk", f"{there} cannot be written, for {use} in {folder}", remedy)
        by_system.setdefault(there.stat().st_dev, []).append((f"{use} in {folder}", there))
    for uses in by_system.values():
        free = shutil.disk_usage(uses[0][1]).free
        found = f"{free / 1e9:.1f} GB free for {', '.join(use for use, _ in uses)}"
        if free < LITTLE_DISK_BYTES:
            yield Finding("warn", "disk", found, "free some: a full disk stops edits until there is space again")
        else:
            yield Finding("ok", "disk", found)
    if not by_system:
        yield Finding("ok", "disk", "nothing is kept here: database and blobs are elsewhere, and no worker runs here")


def _folders(settings: Settings) -> Iterator[tuple[str, Path, str]]:
    """What each is for, and the setting that names it. An API alone keeps nothing in the data folder."""
    if _installed("torch"):
        yield "models and statistics", settings.data, "EMMETD_DATA"
    if settings.redis_url is None:
        yield "the queue server", settings.data / "redis", "EMMETD_DATA"
    if settings.database_url.startswith("sqlite"):
        yield "the database", Path(settings.database_url[len("sqlite:///") :]).parent, "EMMETD_DATABASE_URL"
    if not settings.blob_url.startswith("s3://"):
        yield "blobs", settings.blob_folder, "EMMETD_BLOB_URL"


def database(settings: Settings) -> Iterator[Finding]:
    shown = mask_url(settings.database_url)
    if settings.database_url.startswith("sqlite") and not Path(settings.database_url[len("sqlite:///") :]).exists():
        yield Finding("warn", "database", f"{shown} is not there yet", "`emmetd serve` and `emmetd migrate` make it")
        return
    opened = Database(settings.database_url)
    try:
        if not schema_is_current(opened):
            yield Finding("fail", "database", f"{shown} has not this release's tables", "run `emmetd migrate`")
            return
        probe_database(opened)
        yield Finding("ok", "database", f"{shown} takes writes, and has this release's tables")
        if not opened.is_sqlite:
            yield from _postgres(opened)
    except (SQLAlchemyError, OSError) as error:
        yield Finding("fail", "database", f"{shown}: {database_trouble(error)}", "look at its log, and at database_url")
    finally:
        opened.close()


def _postgres(opened: Database) -> Iterator[Finding]:
    with opened.reading() as session:
        before = time.time()
        server = float(session.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
        yield _skew("PostgreSQL", server, before, time.time())
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            if session.execute(text("SELECT current_setting(:name)"), {"name": name}).scalar_one() == "off":
                yield Finding(
                    "warn",
                    "database",
                    f"PostgreSQL has {name} = off: a power cut may lose what got a 202",
                    f"ALTER SYSTEM SET {name} = on, and reload",
                )


def queue(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url is None:
        try:
            yield Finding("ok", "redis", f"`emmetd serve` starts {find_binary().version}")
        except RedisBinaryError as error:
            yield Finding("fail", "redis", str(error))
        return
    shown = mask_url(settings.redis_url.get_secret_value())
    client = make_redis(settings, "emmetd-doctor")
    try:
        before = time.time()
        seconds, microseconds = client.time()
        yield _skew("Redis", seconds + microseconds / 1e6, before, time.time())
        about = client.info()
        version = tuple(int(part) for part in str(about["redis_version"]).split(".")[:2])
        if version < _OLDEST_REDIS:
            yield Finding("fail", "redis", f"{shown} is {about['redis_version']}", "6.2 or newer is needed")
        else:
            yield Finding("ok", "redis", f"{shown} answers; it speaks as Redis {about['redis_version']}")
        if about.get("maxmemory") and about.get("maxmemory_policy") != "noeviction":
            policy = about.get("maxmemory_policy")
            yield Finding("warn", "redis", f"maxmemory-policy is {policy}: it drops queued work", "set noeviction")
        if not about.get("aof_enabled"):
            yield Finding("warn", "redis", "appendonly is off: a restart loses what is queued", "set appendonly yes")
    except (RedisError, OSError) as error:
        yield Finding("fail", "redis", f"{shown}: {error}", "start it, or correct redis_url")
    finally:
        client.close()


def store(settings: Settings) -> Iterator[Finding]:
    shown = mask_url(settings.blob_url)
    if "://" not in settings.blob_url and not settings.blob_folder.exists():
        yield Finding("ok", "store", f"{shown} is not there yet; the first worker makes it")
        return
    try:
        probe_blobs(open_blob_store(settings.blob_url, settings.s3))
        yield Finding("ok", "store", f"{shown} was written and read")
    except BlobError as error:
        yield Finding("fail", "store", str(error))
    except OSError as error:
        yield Finding("fail", "store", f"{shown}: {disk_trouble(error)}", "mend it, or correct blob_url")


def model(settings: Settings) -> Iterator[Finding]:
    """The model's files and its C0, without loading them."""
    named = Path(settings.model).expanduser()
    folder = named if named.is_dir() else settings.data / "models" / settings.model.replace("/", "--")
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not folder.is_dir():
        yield Finding("warn", "model", f"{settings.model} is not here yet", "the first worker fetches it")
    elif not (folder / "config.json").is_file() or not weights:
        yield Finding(
            "fail", "model", f"{folder} has no config.json or no *.safetensors", "save it again, as safetensors"
        )
    else:
        size = sum(file.stat().st_size for file in weights)
        yield Finding("ok", "model", f"{settings.model}, {size / 1e6:.0f} MB of weights in {folder}")
    kept = list((settings.data / "statistics").glob("layer-*.safetensors"))
    if kept:
        yield Finding("ok", "c0", f"{len(kept)} layers' statistics in {settings.data / 'statistics'}")
    else:
        yield Finding("warn", "c0", "no statistics here yet", "the first worker makes them, which takes minutes")


def device(settings: Settings) -> Iterator[Finding]:
    if not _installed("torch"):
        return
    # By name: an `import` would put PyTorch on the list of what the front end's image installs.
    torch: Any = importlib.import_module("torch")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        yield Finding("ok", "device", f"{', '.join(names)}, CUDA {torch.version.cuda}")
        if settings.device == "cpu":
            yield Finding("warn", "device", "device = cpu leaves the GPU idle", "set EMMETD_DEVICE=auto")
    elif settings.device.startswith("cuda"):
        build = "CPU-only" if torch.version.cuda is None else f"CUDA {torch.version.cuda}"
        yield Finding(
            "fail",
            "device",
            f"device = {settings.device}, and PyTorch ({build}) sees no GPU",
            "look at nvidia-smi; TORCH=cuda make setup installs the build for CUDA",
        )
    else:
        yield Finding("ok", "device", f"no GPU; workers compute on {cores} cores")


def memory(settings: Settings) -> Iterator[Finding]:
    """Whether a worker of the model will fit, from its configuration."""
    if not _installed("torch"):
        return
    # By name, as above: these import PyTorch.
    capacity: Any = importlib.import_module("workers.process.capacity")
    configured: Any = importlib.import_module("workers.memory_plan.configured")
    try:
        chosen = capacity.device_of(settings.device)
        planned = configured.planned_worker(settings, chosen, capacity.dtype_of(settings.dtype, chosen))
    except (ConfigurationError, EditingError) as error:
        yield Finding("warn", "memory", f"nothing can be planned: {error}", "see the model and the device above")
        return
    if planned.refusal is not None:
        level: Level = "fail" if settings.memory_plan == "enforced" else "warn"
        yield Finding(level, "memory", planned.refusal, "`emmetd models prepare --plan` shows all parts")
    else:
        yield Finding("ok", "memory", f"{settings.model} takes {peaks(planned)}")


def store_holds_together(settings: Settings, *, deep: bool) -> Iterator[Finding]:
    """SQL against itself, and with `deep` every blob against its hash."""
    opened = Database(settings.database_url)
    try:
        if settings.database_url.startswith("sqlite") and not Path(opened.engine.url.database or "").exists():
            return
        if not schema_is_current(opened):
            return
        blobs = open_blob_store(settings.blob_url, settings.s3)
        known = Verified() if deep else Verified(everything=True)
        found = violations(opened, blobs, verified=known)
    except (SQLAlchemyError, BlobError, OSError):
        return  # the checks of database and store have said so
    finally:
        opened.close()
    for violation in found:
        yield Finding("fail", "consistency", violation, "restore a backup, or ask with this line in hand")
    if not found:
        read = f"{len(known.blobs)} blobs match their hashes" if deep else "blobs were not read (--deep does)"
        yield Finding("ok", "consistency", f"versions, batches and aliases hold together; {read}")


CHECKS: Final[Mapping[str, Callable[[Settings], Iterator[Finding]]]] = {
    "installation": installation,
    "disk": disk,
    "database": database,
    "redis": queue,
    "store": store,
    "model": model,
    "device": device,
    "memory": memory,
}


def _skew(whose: str, server: float, before: float, after: float) -> Finding:
    skew = server - (before + after) / 2
    unsure = (after - before) / 2
    found = f"{whose}'s clock is {abs(skew):.2f} s {'ahead' if skew > 0 else 'behind'}"
    if abs(skew) - unsure > MOST_SKEW_SECONDS:
        return Finding("warn", "clock", found, "leases compare clocks: run chrony or another NTP client on every host")
    return Finding("ok", "clock", found)


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
