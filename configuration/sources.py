"""Where a setting's value came from: the TOML file as a source, and errors that name the source."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, InitSettingsSource

from configuration.errors import ConfigFileError

CONFIG_FILE_NAME: Final = "emmetd.toml"
MASK: Final = "********"
_URL_FIELDS: Final = frozenset({"database_url", "otlp_endpoint", "redis_url"})
_PASSWORD: Final = re.compile(r"((?:^|(?<=&))(?:ssl_?)?password=)([^&]+)", re.IGNORECASE)
"""Of a URL's query: libpq and redis-py take passwords there too, also of a TLS key's file."""


class ConfigFileSource(InitSettingsSource):
    """The settings of one TOML file: `named` if somebody named one, else emmetd.toml in the data folder if it is there.

    Raises `ConfigFileError` where a named file is missing, the file is not TOML, or it sets what does not exist.
    """

    def __init__(self, settings_cls: type[BaseSettings], data: str | Path, named: str | Path | None) -> None:
        path = Path(str(named or Path(str(data)) / CONFIG_FILE_NAME)).expanduser()
        super().__init__(settings_cls, _read(path, settings_cls.model_fields, required=named is not None))


def _read(path: Path, fields: Mapping[str, FieldInfo], *, required: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        if required:
            raise ConfigFileError(f"config = {str(path)!r}: no such file; write it, or do not name one") from None
        return {}
    except OSError as error:
        raise ConfigFileError(f"config = {str(path)!r}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigFileError(f"config = {str(path)!r}: not TOML: {error}") from None
    settable = fields.keys() - {"config"}
    if not required:
        settable -= {"data"}  # the file was found through the data folder: it cannot move it
    for name in values:
        if name not in settable:
            near = difflib.get_close_matches(name, settable, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"settings are: {', '.join(sorted(settable))}"
            raise ConfigFileError(f"config = {str(path)!r}: {name!r} cannot be set there; {remedy}")
    return values


def describe_problem(
    problem: ErrorDetails, fields: Mapping[str, FieldInfo], flags: Mapping[str, object], environment_prefix: str
) -> str:
    """One sentence: the setting, its value, where it came from, what is wrong, what would do.

    Empty for a problem that only follows from another one.
    """
    if problem["type"] == "default_factory_not_called":
        return ""
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not problem["loc"]:
        return message  # it concerns several settings and says itself which
    name = str(problem["loc"][0])
    if name not in fields:
        return f"{name}: there is no such setting; settings are: {', '.join(sorted(fields))}"
    value = flags.get(name, os.environ.get(f"{environment_prefix}{name.upper()}") or problem.get("input"))
    field = fields[name]
    source = origin(name, flags, environment_prefix)
    return f"{name} = {_shown(name, field, value)} ({source}): {message}; {name} is: {field.description}"


def origin(name: str, flags: Mapping[str, object], environment_prefix: str) -> str:
    """Where the value of a setting that is not at its default came from: --flag, a variable or the file."""
    variable = f"{environment_prefix}{name.upper()}"
    if name in flags:
        return f"--{name.replace('_', '-')}"
    return variable if os.environ.get(variable) else "configuration file"


def _shown(name: str, field: FieldInfo, value: object) -> str:
    if name in _URL_FIELDS:
        return repr(mask_url(str(value)))
    if SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ())):
        return MASK
    return repr(value) if isinstance(value, int | float | bool) else repr(str(value))


def mask_url(url: str) -> str:
    """`url` with its passwords, if it has any, replaced."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    if parts.password:
        user_and_password, _, host = parts.netloc.rpartition("@")
        parts = parts._replace(netloc=f"{user_and_password.partition(':')[0]}:{MASK}@{host}")
    masked = _PASSWORD.sub(rf"\1{MASK}", parts.query)
    # Only where there is something to hide: putting a URL together again may write it otherwise.
    return urlunsplit(parts._replace(query=masked)) if parts.password or masked != parts.query else url


def passwords_in(url: str) -> set[str]:
    """Every password in `url`, as it stands there and as its server is told it: special characters are escaped."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return set()
    written = [parts.password or "", *(found[2] for found in _PASSWORD.finditer(parts.query))]
    return {form for word in written if word for form in (word, unquote(word))}
