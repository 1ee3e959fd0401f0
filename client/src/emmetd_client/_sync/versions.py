# Made by client/unasync.py from versions.py of _async: change that one, and run it.
"""`client.versions`: list, show, describe, take facts out, consolidate, follow a lineage, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emmetd_client._calls import (
    Call,
    Repeat,
    condition_headers,
    creation_headers,
    notes_body,
    nothing,
    reading,
    reading_noted,
    split_reference,
)
from emmetd_client._sync.edits import Edit
from emmetd_client._sync.listing import Listing, page_reader
from emmetd_client._sync.transport import Transport
from emmetd_client._tables import lineage_table, versions_table
from emmetd_client.models.facts import VersionFact
from emmetd_client.models.metrics import BatchMetrics
from emmetd_client.models.versions import LineageEntry, Version

_ALL = "/v1/models/{model}/versions"
_ONE = "/v1/models/{model}/versions/{version}"


class Versions:
    """`client.versions`. A version is named ("m", "v3"), ("m", "production") or "m@v3"; "m" alone is its `latest`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, model: str, *, tag: str | None = None, search: str | None = None, page_size: int | None = None
    ) -> Listing[Version]:
        """All versions of the model, newest first; with `tag`, or a text in label, description or tags, those alone."""
        query = {"tag": tag, "q": search, "limit": page_size}
        call = Call("GET", _ALL, page_reader(Version), path={"model": model.partition("@")[0]}, query=query)
        return Listing(self._transport, call, versions_table)

    def get(self, model: str, version: str | None = None) -> Version:
        return self._transport.send(Call("GET", _ONE, reading_noted(Version), path=_path(model, version)))

    def update(
        self,
        model: str,
        version: str | None = None,
        *,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        if_match: str | None = None,
    ) -> Version:
        """Change description or tags; "" and [] take away. `if_match` is the `etag` that was read: with it, a change
        that somebody made meanwhile is a ConflictError."""
        body, headers = notes_body(description, tags), condition_headers(if_match)
        call = Call(
            "PATCH",
            _ONE,
            reading_noted(Version),
            path=_path(model, version),
            body=body,
            headers=headers,
            repeat=Repeat.ALWAYS if if_match is None else Repeat.REFUSED,
        )
        return self._transport.send(call)

    def metrics(self, model: str, version: str | None = None) -> BatchMetrics:
        call = Call("GET", f"{_ONE}/metrics", reading(BatchMetrics), path=_path(model, version))
        return self._transport.send(call)

    def facts(
        self, model: str, version: str | None = None, *, state: str | None = None, page_size: int | None = None
    ) -> Listing[VersionFact]:
        """The facts of its lineage; `state` is in_force, superseded or reverted."""
        query = {"state": state, "limit": page_size}
        call = Call("GET", f"{_ONE}/facts", page_reader(VersionFact), path=_path(model, version), query=query)
        return Listing(self._transport, call)

    def lineage(self, model: str, version: str | None = None, *, page_size: int | None = None) -> Listing[LineageEntry]:
        """Every version that this one is made of, oldest first, with drift, retained facts and sizes."""
        name, of = split_reference(model, version)
        query = {"of": of, "limit": page_size}
        call = Call("GET", "/v1/models/{model}/lineage", page_reader(LineageEntry), path={"model": name}, query=query)
        return Listing(self._transport, call, lineage_table)

    def revert(
        self,
        model: str,
        version: str | None = None,
        *,
        facts: Sequence[int] | None = None,
        of: str | None = None,
        edits: Sequence[str] | None = None,
        label: str | None = None,
        thresholds: Mapping[str, float] | None = None,
        dry_run: bool | None = None,
        urgent: bool | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> Edit:
        """Take facts out: `facts` are indices in the batch of the version `of` (by default this one), `edits` whole
        batches by their ids. The job ends in a new version; this one stays."""
        body = {
            "facts": None if facts is None else list(facts),
            "of": of,
            "edits": None if edits is None else list(edits),
            "label": label,
            "thresholds": thresholds,
            "dry_run": dry_run,
            "urgent": urgent,
        }
        headers = creation_headers(idempotency_key, if_match)
        path = _path(model, version)
        return self._job(Call("POST", f"{_ONE}/revert", reading(Edit), path=path, body=body, headers=headers))

    def consolidate(
        self,
        model: str,
        version: str | None = None,
        *,
        algorithm: str | None = None,
        settings: Mapping[str, Any] | None = None,
        label: str | None = None,
        thresholds: Mapping[str, float] | None = None,
        dry_run: bool | None = None,
        urgent: bool | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> Edit:
        """Solve all facts in force anew, as one batch from the base. The job ends in a version whose parent is `v0` and
        which `consolidates` this one; no alias moves to it by itself."""
        body = {
            "algorithm": algorithm,
            "settings": settings,
            "label": label,
            "thresholds": thresholds,
            "dry_run": dry_run,
            "urgent": urgent,
        }
        headers = creation_headers(idempotency_key, if_match)
        path = _path(model, version)
        call = Call("POST", f"{_ONE}/consolidate", reading(Edit), path=path, body=body, headers=headers)
        return self._job(call)

    def delete(self, model: str, version: str) -> None:
        """Only an administrator may, and only what nothing needs."""
        self._transport.send(Call("DELETE", _ONE, nothing, path={"model": model, "version": version}))

    def _job(self, call: Call[Edit]) -> Edit:
        return (self._transport.send(call))._bound(self._transport)


def _path(model: str, version: str | None) -> dict[str, str]:
    name, named = split_reference(model, version)
    return {"model": name, "version": named}
