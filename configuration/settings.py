"""All settings of all processes: flags before `EMMETD_*` variables before a TOML file before the defaults below.

Each field's description is what the documentation prints and what an error about the field ends with.
"""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    ByteSize,
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from configuration.access_settings import AccessSettings, Lowercase, what_is_wrong_with_auth
from configuration.corpus_settings import CorpusSettings
from configuration.deployment_settings import DeploymentSettings
from configuration.errors import InvalidSettingError
from configuration.generation_settings import GenerationSettings
from configuration.judge_settings import JudgeSettings
from configuration.machine.cpus import usable_cpus
from configuration.machine.folders import default_data_folder
from configuration.model_settings import ModelSettings
from configuration.observability_settings import ObservabilitySettings
from configuration.retention_settings import RetentionSettings
from configuration.s3_settings import S3_URL, S3Settings
from configuration.sources import ConfigFileSource, describe_problem, mask_url, passwords_in
from configuration.webhook_settings import WebhookSettings

ENVIRONMENT_PREFIX: Final = "EMMETD_"
_URLS: Final = ("database_url", "redis_url", "otlp_endpoint", "judge_url")
"""Settings in which a password may stand."""


class Settings(
    AccessSettings,
    CorpusSettings,
    DeploymentSettings,
    GenerationSettings,
    JudgeSettings,
    ModelSettings,
    ObservabilitySettings,
    RetentionSettings,
    S3Settings,
    WebhookSettings,
):
    """Resolved settings; never changed after they were made. Make them with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        hide_input_in_errors=True,
        validate_default=True,
    )

    config: Path | None = Field(None, description="TOML file with settings; by default emmetd.toml in the data folder")
    data: Path = Field(
        default_factory=default_data_folder, description="folder for the database, blobs, models and statistics"
    )
    database_url: str = Field(
        default_factory=lambda fields: f"sqlite:///{fields['data']}/emmetd.sqlite3",
        repr=False,
        description="sqlite:////absolute/path or postgresql://user:password@host/name; by default in the data folder",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="redis://, rediss:// or unix:// URL; by default `emmetd serve` starts a private server",
    )
    blob_url: str = Field(
        default_factory=lambda fields: f"{fields['data']}/blobs",
        description="where deltas and matrices lie: a folder, as a path or a file:// URL, or s3://bucket/prefix; "
        "by default in the data folder",
    )

    device: Annotated[str, Lowercase] = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    dtype: Annotated[Literal["auto", "float32", "bfloat16", "float16"], Lowercase] = Field(
        "auto", description="what the model computes in: auto, float32, bfloat16 or float16"
    )
    value_products: Annotated[Literal["auto", "exact"], Lowercase] = Field(
        "auto",
        description="auto: steps that optimise values multiply in bfloat16 where the model is in float32 and the "
        "processor gains by it (AMX); exact: in the model's own precision. Everything else is exact in both",
    )
    threads: PositiveInt | None = Field(
        None,
        description="CPU threads of a worker; by default one for each CPU that affinity and container leave it",
    )
    host: str = Field(
        "127.0.0.1", min_length=1, description="address to listen on; one that others can reach needs an API key"
    )
    port: int = Field(8000, ge=0, le=65535, description="port to listen on, 0 to 65535; 0 takes a free one")

    max_facts: PositiveInt = Field(10_000, description="facts in one batch, at most")
    max_body_bytes: ByteSize = Field(
        ByteSize(64 * 1024**2),
        gt=0,
        description="bytes in a body with facts, at most; 64MiB may be written too. Bodies without facts are bounded "
        "below it",
    )
    max_text_chars: PositiveInt = Field(10_000, description="characters in one prompt, subject or target, at most")
    max_queued_batches: PositiveInt = Field(1000, description="batches that wait for a model, at most")
    max_exports: PositiveInt = Field(
        20, description="exports of a model that are kept, at most; the oldest go, and are made again for who asks"
    )
    max_completion_tokens: PositiveInt = Field(2048, description="tokens that one completion may ask for, at most")
    wait_limit_seconds: float = Field(60, ge=0, le=3600, description="seconds that `Prefer: wait` may ask for, at most")

    database_connections: int = Field(30, ge=4, description="connections to the database of an API process, at most")
    database_worker_connections: int = Field(10, ge=6, description="connections to the database of a worker, at most")
    database_wait_seconds: float = Field(
        600,
        ge=0,
        description="seconds that `emmetd migrate`, and so `emmetd serve`, waits for a database that is away",
    )
    lease_seconds: float = Field(
        15, ge=1, le=3600, description="seconds without a heartbeat after which a worker's work is given to another"
    )
    retained_sample: int = Field(
        64, ge=0, le=10_000, description="facts of earlier batches that the check of a batch measures again, at most"
    )
    shard_seconds: float = Field(60, ge=1, le=3600, description="seconds of optimisation that one shard aims at")

    log_format: Annotated[Literal["auto", "json", "text"], Lowercase] = Field(
        "auto", description="json, text, or auto: text on a terminal and JSON elsewhere"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lowercase] = Field(
        "info", description="debug, info, warning or error"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Highest precedence first. The file's place depends on the flags and variables, so those are read here."""
        known = {"data": default_data_folder(), **env_settings(), **init_settings()}
        return init_settings, env_settings, ConfigFileSource(settings_cls, known["data"], known.get("config"))

    @field_validator("config", "data")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        # Child processes are given these paths and may run elsewhere.
        return path and path.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if separator and scheme in ("postgresql", "postgres", "postgresql+psycopg"):
            return f"postgresql+psycopg://{rest}"
        if scheme != "sqlite" or not separator:
            raise ValueError("only sqlite:// and postgresql:// databases are known")
        if not rest.strip("/") or ":memory:" in rest:
            raise ValueError("several processes share the database, so SQLite needs a file: sqlite:////absolute/path")
        return url

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and urlsplit(url.get_secret_value()).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("only redis://, rediss:// and unix:// URLs are known")
        return url

    @field_validator("blob_url")
    @classmethod
    def _known_blob_store(cls, url: str) -> str:
        if "://" not in url:
            return str(Path(url).expanduser().absolute())
        if not re.match(r"file:///.", url) and not S3_URL.fullmatch(url):
            raise ValueError("only folders are known, as a path or file:///absolute/path, and s3://bucket/prefix")
        return url

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError("no such kind of device")
        return device

    @model_validator(mode="after")
    def _open_to_others_only_with_a_key(self) -> Self:
        problem = what_is_wrong_with_auth(self, self.host, loopback=self.is_loopback)
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach `host`."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def blob_folder(self) -> Path:
        """`blob_url` as a folder."""
        return Path(self.blob_url.removeprefix("file://"))

    @property
    def cpu_threads(self) -> int:
        """`threads`, or the number of CPUs that this process may keep busy."""
        return self.threads if self.threads is not None else usable_cpus()

    def as_environment(self) -> dict[str, str]:
        """The settings as `EMMETD_*` variables, secrets in clear, for a child process that shall see the same.

        A model that nobody chose is left out: a worker takes the one that its NAME is registered with, if there is one.
        """
        environment = {}
        for name in type(self).model_fields:
            if name == "model" and name not in self.model_fields_set:
                continue
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            elif isinstance(value, ByteSize):
                value = int(value)  # its str() rounds to a unit
            elif isinstance(value, dict):
                value = json.dumps(value)
            if value is not None:
                environment[f"{ENVIRONMENT_PREFIX}{name.upper()}"] = str(value)
        return environment

    def masked(self) -> dict[str, str | int | float | None]:
        """The settings for people's eyes: no key, token or password in it."""
        shown: dict[str, str | int | float | None] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name in _URLS and value is not None:
                value = mask_url(_plain(value))
            elif isinstance(value, dict):
                value = json.dumps(value)
            shown[name] = value if value is None or isinstance(value, int | float) else str(value)
        return shown

    def secrets(self) -> list[str]:
        """Every secret in clear, for the log's redaction."""
        values = [value for name in type(self).model_fields if isinstance(value := getattr(self, name), SecretStr)]
        words = set[str]().union(*(passwords_in(_plain(getattr(self, name) or "")) for name in _URLS))
        return [value.get_secret_value() for value in values if value.get_secret_value()] + sorted(words)


def _plain(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def load_settings(**flags: Any) -> Settings:
    """Settings from all sources; a flag that is None was not given.

    Raises `InvalidSettingError` naming each setting, its value, where it came from and what would do, and
    `ConfigFileError` where the TOML file cannot be read.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as invalid:
        problems = [
            describe_problem(problem, Settings.model_fields, given, ENVIRONMENT_PREFIX) for problem in invalid.errors()
        ]
        raise InvalidSettingError([problem for problem in problems if problem]) from None
