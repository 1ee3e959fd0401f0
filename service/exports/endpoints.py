"""`/v1/models/{model}/versions/{version}/export`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from api_schemas.exports import FILE_KINDS, ExportFormat
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
    summary="Export a version as an adapter, as a whole checkpoint or as merged matrices",
    response_class=Response,
    responses={
        200: {
            "description": "The file: a zip, or of `merged` safetensors.",
            "headers": _HEADERS,
            "content": {
                kind.media_type: {"schema": {"type": "string", "format": "binary"}} for kind in FILE_KINDS.values()
            },
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
    format: Annotated[ExportFormat, Query(description="Which programs it is for.")] = "peft",
    max_rank: Annotated[
        int,
        Query(
            ge=1,
            le=65_536,
            description="Of `peft`. Where the lineage has more ranks they are compressed, and the error is told; an "
            "error above 0.01 is refused. The file's rank is the next that vLLM takes, by zeros.",
        ),
    ] = 512,
    prefer: Prefer = None,
) -> Response:
    """`peft`: all deltas of the lineage as one LoRA adapter on the edited projections, to be put on the plain base by
    `peft`, vLLM or SGLang.

    `hf`: the whole edited model as a checkpoint, with configuration and tokenizer, for transformers, vLLM, SGLang and
    llama.cpp's converter.

    `gguf-lora`: the adapter for llama.cpp, with a Modelfile for Ollama.

    `merged`: the edited matrices alone, bit for bit, under their names in the base's state dict, as safetensors.

    Each has a provenance file, sums and a model card; of `merged` the provenance is in the file's metadata.
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
    kind = FILE_KINDS[cast(ExportFormat, row.format)]
    report = row.report or {}
    name = f"{row.model}-{version_name(row.version)}-{row.format}.{kind.extension}"
    headers |= {
        "Content-Length": str(row.bytes),
        "Content-Disposition": f'attachment; filename="{name}"',
        "ETag": f'"{blob}"',
    }
    if kind.is_adapter:
        headers |= {
            "X-Emmetd-Export-Rank": str(report["rank"]),
            "X-Emmetd-Export-Full-Rank": str(report["full_rank"]),
            "X-Emmetd-Export-Error": f"{report['relative_error']:.6g}",
        }
    # The whole file is checked before its first byte goes out.
    pieces = await run_in_threadpool(resources.blobs.chunks, blob)
    return StreamingResponse(pieces, 200, headers, kind.media_type)
