"""Where the server is, which key opens it, how long to wait: arguments, then EMMETD_URL and EMMETD_API_KEY."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import httpx

from emmetd_client._retrying import RetryPolicy
from emmetd_client.errors import ConfigurationError

DEFAULT_URL: Final = "http://127.0.0.1:8000"
CONNECT_SECONDS: Final = 10.0
MOST_BYTES: Final = 256 * 1024**2
"""The largest answer that is read into memory; files are streamed and have no limit."""

try:
    CLIENT_VERSION = version("emmetd-client")
except PackageNotFoundError:  # run from its source
    CLIENT_VERSION = "0.1.0"


@dataclass(frozen=True)
class Configuration:
    """`timeout` is for a whole answer, in seconds, without the time that the server was asked to wait."""

    base_url: str
    api_key: str | None = field(repr=False)
    timeout: float
    retrying: RetryPolicy

    @property
    def headers(self) -> dict[str, str]:
        headers = {"User-Agent": f"emmetd-client/{CLIENT_VERSION}", "Accept": "application/json"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return headers


def configured(base_url: str | None, api_key: str | None, timeout: float, retries: int) -> Configuration:
    """Raises ConfigurationError."""
    url = (base_url or os.environ.get("EMMETD_URL") or DEFAULT_URL).rstrip("/")
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ConfigurationError(f"base_url {url!r} is no address of a server; write http://host:8000")
    if parts.userinfo or parts.query or parts.fragment:
        raise ConfigurationError(
            "base_url holds a user, a query or a fragment; pass api_key instead, and the bare address"
        )
    key = api_key if api_key is not None else os.environ.get("EMMETD_API_KEY")
    if key is not None and (not key.isascii() or any(not letter.isprintable() or letter == " " for letter in key)):
        raise ConfigurationError("api_key holds characters that no header takes; copy the key again")
    if not timeout > 0:
        raise ConfigurationError(f"timeout is {timeout}; give seconds above 0")
    if retries < 0:
        raise ConfigurationError(f"retries is {retries}; give 0 or more")
    return Configuration(url, key or None, timeout, RetryPolicy(retries))


def timeouts(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
