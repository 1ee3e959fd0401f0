"""The settings about who is let in, from where, and how much they may do."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, SecretStr, field_validator
from pydantic_settings import BaseSettings

from configuration.errors import ConfigurationError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lowercase = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?")
_MAKE_ONE: Final = "make a key with `emmetd keys create`, or set EMMETD_API_KEY"


class AccessSettings(BaseSettings):
    """Part of `Settings`. A limit of 0 is none."""

    auth: Annotated[Literal["auto", "on", "off"], Lowercase] = Field(
        "auto",
        description="whether requests need a key: on, off, or auto: off in `emmetd serve` on loopback without an "
        "api_key; only there it can be off",
    )
    api_key: SecretStr | None = Field(
        None, description="a first key that may do everything: visible ASCII characters, no spaces"
    )
    key_requests_per_minute: NonNegativeInt = Field(
        600, description="requests that a key may make in a minute, unless it has a limit of its own; 0 is no limit"
    )
    key_tokens_per_minute: NonNegativeInt = Field(
        200_000, description="tokens of prompts and completions for a key in a minute; 0 is no limit"
    )
    key_facts_per_day: NonNegativeInt = Field(
        100_000, description="facts that a key may edit or measure in 24 hours; 0 is no limit"
    )
    key_open_batches: NonNegativeInt = Field(
        50,
        description="batches, evaluations, exports and statistics of a key that may wait or run at a time; 0 is no "
        "limit",
    )
    key_event_streams: NonNegativeInt = Field(
        100, description="event streams that a key may follow at a time on each API process; 0 is no limit"
    )
    trusted_proxies: str = Field(
        "",
        description="addresses or networks of proxies whose X-Forwarded-For is believed, separated by commas: "
        "10.0.0.0/8, ::1",
    )
    cors_origins: str = Field(
        "",
        description="origins whose pages may call the API from a browser, separated by commas: "
        "https://console.example.org; by default none",
    )

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not re.fullmatch(r"[!-~]+", key.get_secret_value()):
            raise ValueError("it could not stand in an Authorization header")
        return key

    @field_validator("trusted_proxies")
    @classmethod
    def _known_networks(cls, text: str) -> str:
        networks_in(text)
        return text

    @field_validator("cors_origins")
    @classmethod
    def _known_origins(cls, text: str) -> str:
        for part in separated(text):
            if not _ORIGIN.fullmatch(part):
                raise ValueError(f"{part!r} is not an origin; write https://host or https://host:port, without a path")
        return text

    @property
    def needs_key(self) -> bool:
        """Whether requests must show a key. `auto` says so too: `emmetd serve` resolves it before others read it."""
        return self.auth != "off" or self.api_key is not None

    @property
    def trusted_networks(self) -> list[Network]:
        return networks_in(self.trusted_proxies)

    @property
    def allowed_origins(self) -> list[str]:
        return separated(self.cors_origins)


def what_is_wrong_with_auth(settings: AccessSettings, host: str, *, loopback: bool) -> str | None:
    """Why `settings` would leave `host` open, or contradict themselves; None where they do not."""
    if settings.auth == "off" and settings.api_key is not None:
        return "auth = 'off' and an api_key contradict each other; unset EMMETD_AUTH, or EMMETD_API_KEY"
    if settings.api_key is None and not loopback and settings.auth != "on":
        return (
            f"host = {host!r} lets other machines in without a key; set EMMETD_API_KEY (or --api-key), set "
            "EMMETD_AUTH=on and make keys with `emmetd keys create`, or listen on 127.0.0.1"
        )
    return None


def require_keys(settings: AccessSettings) -> None:
    """For an API that `emmetd serve` did not start. Raises ConfigurationError where it would answer without keys."""
    if not settings.needs_key:
        raise ConfigurationError(
            f"auth = 'off': only `emmetd serve` on loopback answers without keys; set EMMETD_AUTH=on and {_MAKE_ONE}"
        )


def separated(text: str) -> list[str]:
    """What stands between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def networks_in(text: str) -> list[Network]:
    """The addresses and networks between commas. Raises ValueError naming one that is none."""
    return [ipaddress.ip_network(part) for part in separated(text)]
