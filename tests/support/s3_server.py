"""A server that speaks S3's protocol, of the tests' own: its objects are in memory, and gone with it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import obstore
from obstore.store import S3Store

from configuration.s3_settings import S3Access
from store.blobs.object_store import s3_store
from store.blobs.objects import ObjectBlobStore

KEY, SECRET, REGION = "AKIDTESTS", "secret-of-the-tests", "eu-central-1"


class S3Server:
    """`access` reaches it; each test works in a bucket of its own."""

    def __init__(self) -> None:
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.access = S3Access(f"http://{host}:{port}", REGION, KEY, SECRET)
        self._buckets = 0

    def stop(self) -> None:
        self._server.stop()

    def new_bucket(self) -> Bucket:
        import httpx

        self._buckets += 1
        name = f"bucket-{self._buckets}"
        where = (
            f"<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        )
        httpx.put(f"{self.access.endpoint}/{name}", content=where).raise_for_status()
        return Bucket(self.access, name)


@dataclass(frozen=True)
class Bucket:
    access: S3Access
    name: str
    prefix: str = "some/prefix"

    @property
    def url(self) -> str:
        return f"s3://{self.name}/{self.prefix}"

    @property
    def raw(self) -> S3Store:
        """What lies below the prefix, as any other client sees it."""
        return s3_store(self.url, self.access)

    @property
    def blobs(self) -> ObjectBlobStore:
        return ObjectBlobStore(self.raw, self.url)

    def names(self) -> list[str]:
        return sorted(one["path"] for page in obstore.list(self.raw) for one in page)

    def age(self, days: float) -> None:
        """Let all objects be older than they are, as only the server itself can."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        then = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
        for key in s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[self.name].keys.values():
            key.last_modified = then
