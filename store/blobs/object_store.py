"""The client of an S3-compatible store, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from configuration.s3_settings import S3_URL, S3Access
from store.errors import BlobStoreAwayError

EXPECTED = (FileNotFoundError, AlreadyExistsError, PreconditionError)
"""What a store answers that is there and well."""
_RETRIES: dict[str, Any] = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=4), "base": 2},
}
"""About ten seconds together: a store that restarts is back by then."""
_CONNECT_SECONDS, _REQUEST_SECONDS = 5, 300


def s3_store(url: str, access: S3Access, retries: dict[str, Any] | None = None) -> S3Store:
    """The objects below `url`, s3://bucket/prefix. Nothing is asked of the store yet."""
    if not S3_URL.fullmatch(url):
        raise ValueError(f"{url!r} is not the URL of a bucket: write s3://bucket or s3://bucket/prefix")
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    given = {
        "endpoint": access.endpoint,
        "region": access.region,
        "access_key_id": access.access_key_id,
        "secret_access_key": access.secret_access_key,
    }
    config: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return S3Store(
        bucket,
        prefix=prefix.strip("/") or None,
        # One DELETE each: not every compatible store knows AWS's bulk request.
        disable_bulk_delete=True,
        client_options={
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "timeout": timedelta(seconds=_REQUEST_SECONDS),
            "allow_http": (access.endpoint or "").startswith("http://"),
        },
        retry_config=_RETRIES if retries is None else retries,  # type: ignore[arg-type]
        **config,
    )


@contextmanager
def asking(url: str) -> Iterator[None]:
    """Raise BlobStoreAwayError for everything but what is expected: absent, already there, or another one there."""
    try:
        yield
    except EXPECTED:
        raise
    except BaseError as error:
        # The first line says what happened; what follows are the client's own structures.
        said = str(error).partition("\n")[0][:500]
        raise BlobStoreAwayError(
            f"{url} does not answer as it should: {said}; check s3_endpoint, s3_region, the keys and the bucket"
        ) from error
