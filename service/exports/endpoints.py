"""`/v1/models/{model}/versions/{version}/export`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from api_schemas.exports import ExportFormat
from api_schemas.references import version_name
from service.errors import BusyError, ExportFailedError, InvalidFieldsError, NothingToExportError
from service.exports import service
from service.http.preferences import Prefer, awaited
from service.http.problems import responses
from service.models.parameters import Name, Version
from service.resources import Resources, ResourcesDependency
from store.errors import BlobCorruptError, BlobStoreAwayError, ModelNotFoundError, VersionNotFoundError
from store.schema.tables import ExportRow

router = APIRouter(prefix="/v1/models", tags=["models"])

_TYPES: Final = {"peft": ("application/zip", "zip"), "merged": ("application/octet-stream", "safetensors")}
_RETRY_SECONDS: Final = "2"
_TEXT: Final[dict[str, Any]] = {"schema": {"type": "string"}}
_HEADERS: Final[dict[str, Any]] = {
    "X-Emmetd-Version": {"description": "NAME@vN.", **_TEXT},
    "X-Emmetd-Export-Rank": {"description": "Of an adapter: its rank.", **_TEXT},
    "X-Emmetd-Export-Full-Rank": {"description": "Of an adapter: the rank that the version has.", **_TEXT},
    "X-Emmetd-Export-Error": {
        "description": "Of an adapter: the relative Frobenius error of its worst layer, 0 at the full rank.",
        **_TEXT,
    },
}


@router.get(
    "/{model}/versions/{version}/export",
    summary="Export a version as a PEFT adapter or as merged matrices",
    response_class=Response,
    responses={
        200: {
            "description": "The file: a zip that `peft` loads, or safetensors to load over the base.",
            "headers": _HEADERS,
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind, _ in _TYPES.values()},
        },
        202: {
            "description": "A worker prepares it. Ask again at Location.",
            "headers": {"Location": {"description": "The same, with the version pinned.", **_TEXT}},
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ExportJob"}}},
        },
        **responses(
            ModelNotFoundError,
            VersionNotFoundError,
            NothingToExportError,
            InvalidFieldsError,
            ExportFailedError,
            BusyError,
            BlobCorruptError,
            BlobStoreAwayError,
        ),
    },
)
async def export(
    request: Request,
    resources: ResourcesDependency,
    model: Name,
    version: Version,
    format: Annotated[ExportFormat, Query(description="`peft` or `merged`.")] = "peft",
    max_rank: Annotated[
        int,
        Query(
            ge=1,
            le=65_536,
            description="Of an adapter. Where the lineage has more ranks they are compressed, and the error is told; "
            "an error above 0.01 is refused.",
        ),
    ] = 512,
    prefer: Prefer = None,
) -> Response:
    """`peft`: all deltas of the lineage as one LoRA adapter on the edited projections, to be put on the plain base.

    `merged`: the edited matrices, bit for bit, under their names in the base's state dict.
    """
    row = await run_in_threadpool(service.find_or_make, resources, model, version, format, max_rank)
    headers: dict[str, str] = {}
    row = await awaited(request, resources, headers, row, prefer, partial(service.get, resources, row.id))
    headers["X-Emmetd-Version"] = f"{row.model}@{version_name(row.version)}"
    if row.blob is None:
        content = service.export_job(row).model_dump_json()
        headers |= {"Location": service.address(row), "Retry-After": _RETRY_SECONDS}
        return Response(content, 202, headers, "application/json")
    return await _file(resources, row, row.blob, headers)


async def _file(resources: Resources, row: ExportRow, blob: str, headers: dict[str, str]) -> Response:
    media_type, extension = _TYPES[row.format]
    report = row.report or {}
    name = f"{row.model}-{version_name(row.version)}-{row.format}.{extension}"
    headers |= {
        "Content-Length": str(row.bytes),
        "Content-Disposition": f'attachment; filename="{name}"',
        "ETag": f'"{blob}"',
    }
    if row.format == "peft":
        headers |= {
            "X-Emmetd-Export-Rank": str(report["rank"]),
            "X-Emmetd-Export-Full-Rank": str(report["full_rank"]),
            "X-Emmetd-Export-Error": f"{report['relative_error']:.6g}",
        }
    # The whole file is checked before its first byte goes out.
    pieces = await run_in_threadpool(resources.blobs.chunks, blob)
    return StreamingResponse(pieces, 200, headers, media_type)
