"""The settings about an S3-compatible store, for where `blob_url` or a bundle's URL is s3://bucket/prefix."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

S3_URL: Final = re.compile(r"s3://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()/-]*)?")
"""Bucket and, where there is one, prefix."""


@dataclass(frozen=True)
class S3Access:
    """How to reach the store. What is None comes from the AWS_* variables, or from the machine's role."""

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)


class S3Settings(BaseSettings):
    """Part of `Settings`."""

    s3_endpoint: str | None = Field(
        None, description="http:// or https:// URL of an S3-compatible store; by default that of AWS"
    )
    s3_region: str | None = Field(None, description="region of the bucket; by default AWS_REGION, or us-east-1")
    s3_access_key_id: SecretStr | None = Field(
        None, description="access key of the store; by default AWS_ACCESS_KEY_ID, or the machine's role"
    )
    s3_secret_access_key: SecretStr | None = Field(
        None, description="secret of that key; by default AWS_SECRET_ACCESS_KEY, or the machine's role"
    )

    @field_validator("s3_endpoint")
    @classmethod
    def _reachable(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("only http:// and https:// URLs are known")
        if parts.username or parts.password:
            raise ValueError("keys do not belong into the URL; use s3_access_key_id and s3_secret_access_key")
        return url.rstrip("/")

    @property
    def s3(self) -> S3Access:
        key, secret = self.s3_access_key_id, self.s3_secret_access_key
        return S3Access(
            endpoint=self.s3_endpoint,
            region=self.s3_region,
            access_key_id=None if key is None else key.get_secret_value(),
            secret_access_key=None if secret is None else secret.get_secret_value(),
        )
