"""`/v1/models/{model}/diff`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from api_schemas.diffs import VersionDiff
from service.diffs import service
from service.errors import DiffTooLargeError, InvalidFieldsError, OverloadedError
from service.http.problems import responses
from service.models.parameters import Name
from service.resources import ResourcesDependency
from store.errors import (
    BlobCorruptError,
    BlobMissingError,
    BlobStoreAwayError,
    ModelNotFoundError,
    VersionNotFoundError,
)

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get(
    "/{model}/diff",
    summary="Compare two versions",
    responses=responses(
        ModelNotFoundError,
        VersionNotFoundError,
        DiffTooLargeError,
        InvalidFieldsError,
        OverloadedError,
        BlobMissingError,
        BlobCorruptError,
        BlobStoreAwayError,
    ),
)
async def get_diff(
    resources: ResourcesDependency,
    model: Name,
    before: Annotated[str, Query(alias="from", max_length=70, description="A version or alias.", examples=["v1"])],
    after: Annotated[str, Query(alias="to", max_length=70, description="A version or alias.", examples=["v3"])],
    limit: Annotated[int, Query(ge=0, le=1000, description="Facts shown of those added and taken out, each.")] = 100,
    weights: Annotated[bool, Query(description="Whether to compare the weights too.")] = True,
) -> VersionDiff:
    """Which facts came and went, and for each changed layer how far either version is from the base and the other.

    Norms are Frobenius norms of the change, computed from the versions' deltas in double precision. One
    comparison runs at a time, and a key may have four waiting or running: beyond that the answer is 429.
    """
    look = partial(service.diff, resources, model, before, after, limit, weights=weights)
    return await resources.comparisons.run(resources.caller, look)
