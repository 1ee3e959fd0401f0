"""Settings: which source wins, what is refused and how the refusal reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from configuration.errors import ConfigFileError, InvalidSettingError
from configuration.s3_settings import S3Access
from configuration.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("EMMETD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))


def problems_of(**flags: object) -> list[str]:
    with pytest.raises(InvalidSettingError) as refused:
        load_settings(**flags)
    return refused.value.problems


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.data == tmp_path / "xdg" / "emmetd"
    assert settings.database_url == f"sqlite:///{settings.data}/emmetd.sqlite3"
    assert settings.blob_folder == settings.data / "blobs"
    assert settings.redis_url is None
    assert (settings.model, settings.served_model_name) == ("smollm2-135m", "smollm2-135m")
    assert (settings.host, settings.port, settings.is_loopback) == ("127.0.0.1", 8000, True)


def test_flags_win_over_variables_over_the_file_over_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "emmetd.toml"
    file.write_text('port = 1001\nmax_facts = 11\nlease_seconds = 5\nmodel = "gpt2"\n')
    monkeypatch.setenv("EMMETD_CONFIG", str(file))
    monkeypatch.setenv("EMMETD_PORT", "1002")
    monkeypatch.setenv("EMMETD_MAX_FACTS", "12")
    settings = load_settings(port=1003, model=None)
    assert (settings.port, settings.max_facts, settings.lease_seconds, settings.model) == (1003, 12, 5, "gpt2")
    assert settings.shard_seconds == 60


def test_a_file_named_by_flag_wins_over_one_named_by_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("port = 1")
    (tmp_path / "b.toml").write_text("port = 2")
    monkeypatch.setenv("EMMETD_CONFIG", str(tmp_path / "a.toml"))
    assert load_settings().port == 1
    assert load_settings(config=tmp_path / "b.toml").port == 2


def test_the_data_folders_own_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "emmetd.toml").write_text("port = 7")
    assert load_settings(data=tmp_path).port == 7


def test_the_data_folders_own_file_cannot_move_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "emmetd.toml").write_text('data = "/elsewhere"')
    with pytest.raises(ConfigFileError, match="'data' cannot be set there"):
        load_settings(data=tmp_path)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMMETD_REDIS_URL", "")
    monkeypatch.setenv("EMMETD_PORT", "")
    assert (load_settings().redis_url, load_settings().port) == (None, 8000)


def test_relative_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(data="here", blob_url="there")
    assert (settings.data, settings.blob_folder) == (tmp_path / "here", tmp_path / "there")
    assert settings.database_url.startswith(f"sqlite:///{tmp_path}/here/")


def test_a_child_sees_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load_settings(
        data=tmp_path, api_key="key-123", redis_url="redis://:pw@h:1/0", max_body_bytes="3MiB", threads=2, model="a/B-c"
    )
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"port": 99999}, ["port = 99999", "--port", "65535"]),
        ({"threads": 0}, ["threads = 0", "greater than 0"]),
        ({"database_url": "mysql://h/x"}, ["mysql://h/x", "sqlite:////absolute/path", "postgresql://"]),
        ({"database_url": "sqlite://"}, ["sqlite:////absolute/path"]),
        ({"database_url": "sqlite:///:memory:"}, ["needs a file"]),
        ({"redis_url": "http://h"}, ["http://h", "redis://"]),
        ({"blob_url": "gs://bucket"}, ["gs://bucket", "file:///absolute/path", "s3://bucket/prefix"]),
        ({"blob_url": "s3://B"}, ["s3://B", "s3://bucket/prefix"]),
        ({"s3_endpoint": "minio:9000"}, ["minio:9000", "https://"]),
        ({"s3_endpoint": "http://me:secret@minio"}, ["s3_access_key_id"]),
        ({"device": "tpu"}, ["'tpu'", "cuda:N"]),
        ({"dtype": "int8"}, ["'int8'", "bfloat16"]),
        ({"model_name": "a/b"}, ["'a/b'", "lower-case"]),
        ({"model": "///"}, ["'///'", "EMMETD_MODEL_NAME"]),
        ({"log_level": "loud"}, ["'loud'", "warning"]),
        ({"api_key": "two words"}, ["api_key = ********", "no spaces"]),
        ({"colour": "red"}, ["colour", "no such setting"]),
    ],
)
def test_a_refusal_names_setting_value_and_remedy(flags: dict[str, object], words: list[str]) -> None:
    (problem,) = problems_of(**flags)
    assert [word for word in words if word not in problem] == []


def test_a_refusal_names_the_variable_that_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMMETD_MAX_FACTS", "many")
    (problem,) = problems_of()
    assert "EMMETD_MAX_FACTS" in problem
    assert "'many'" in problem


def test_every_wrong_setting_is_told_at_once() -> None:
    assert len(problems_of(port=-1, threads=0, device="tpu")) == 3


def test_no_refusal_shows_a_secret() -> None:
    told = problems_of(redis_url="http://user:hunter2@h") + problems_of(database_url="mysql://user:hunter2@h/x")
    assert "hunter2" not in " ".join(told)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_listening_to_other_machines_needs_a_key(host: str) -> None:
    (problem,) = problems_of(host=host)
    assert repr(host) in problem
    assert "EMMETD_API_KEY" in problem
    assert load_settings(host=host, api_key="k").host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert load_settings(host=host).is_loopback


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = high", ["not TOML", "line 1"]),
        ("prot = 1", ["'prot'", "did you mean port?"]),
        ("[server]\nport = 1", ["'server'", "settings are:"]),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigFileError) as refused:
        load_settings(config=file)
    assert [word for word in [str(file), *words] if word not in str(refused.value)] == []


def test_a_wrong_value_in_the_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "emmetd.toml").write_text('port = "high"')
    (problem,) = problems_of(data=tmp_path)
    assert "'high'" in problem
    assert "configuration file" in problem


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="no such file"):
        load_settings(config=tmp_path / "none.toml")


def test_postgresql_urls_get_the_driver_that_is_installed() -> None:
    for url in ("postgresql://u:p@h/d", "postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"):
        assert load_settings(database_url=url).database_url == "postgresql+psycopg://u:p@h/d"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("smollm2-135m", "smollm2-135m"),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", "smollm2-360m-instruct"),
        ("/models/My Model/", "my-model"),
        ("./local", "local"),
    ],
)
def test_a_model_gets_a_name_that_requests_can_carry(model: str, name: str) -> None:
    assert load_settings(model=model).served_model_name == name
    assert load_settings(model=model, model_name="mine").served_model_name == "mine"


def test_nothing_printed_shows_a_secret() -> None:
    settings = load_settings(
        api_key="hunter-key",
        hf_token="hunter-token",
        redis_url="redis://u:hunter-redis@h:1/0",
        database_url="postgresql://u:hunter-sql@h/d",
    )
    shown = f"{settings!r} {settings} {settings.masked()}"
    assert "hunter" not in shown
    assert settings.masked()["redis_url"] == "redis://u:********@h:1/0"
    assert sorted(settings.secrets()) == sorted(
        ["hunter-key", "redis://u:hunter-redis@h:1/0", "hunter-token", "hunter-sql", "hunter-redis"]
    )


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_keys_of_an_object_store_are_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMMETD_S3_SECRET_ACCESS_KEY", "topsecret")
    settings = load_settings(
        blob_url="s3://bucket/prefix", s3_endpoint="http://store:9000/", s3_region="here", s3_access_key_id="AKID"
    )
    assert settings.s3 == S3Access("http://store:9000", "here", "AKID", "topsecret")
    assert {"AKID", "topsecret"} <= set(settings.secrets())
    assert "topsecret" not in f"{settings!r} {settings.s3!r} {settings.masked()}"
    assert settings.as_environment()["EMMETD_S3_SECRET_ACCESS_KEY"] == "topsecret"
