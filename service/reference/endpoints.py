"""`/docs` and `/redoc`, and the files that they load. Not part of the API's document.

Addresses in the pages are relative, so that any path prefix of a proxy will do.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from service.errors import PageNotFoundError
from service.http.pages import ASK_AGAIN, FOR_EVER, answer
from service.reference.pages import own_pages, vendored

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Swagger UI: what can be asked, and asking it."""
    return answer(request, own_pages()["docs.html"], ASK_AGAIN)


@router.get("/redoc")
async def redoc(request: Request) -> Response:
    """Redoc: the same document, to be read."""
    return answer(request, own_pages()["redoc.html"], ASK_AGAIN)


@router.get("/reference/{file}")
async def own_file(request: Request, file: Annotated[str, Path(max_length=200)]) -> Response:
    """Raises PageNotFoundError."""
    page = own_pages().get(file)
    if page is None or file.endswith(".html"):
        raise _nothing_at(request)
    return answer(request, page, ASK_AGAIN)


@router.get("/reference/{folder}/{file}")
async def vendored_file(
    request: Request, folder: Annotated[str, Path(max_length=200)], file: Annotated[str, Path(max_length=200)]
) -> Response:
    """Raises PageNotFoundError."""
    page = (await run_in_threadpool(vendored)).get(f"{folder}/{file}")
    if page is None:
        raise _nothing_at(request)
    return answer(request, page, FOR_EVER)


def _nothing_at(request: Request) -> PageNotFoundError:
    path = request.url.path[:200]
    return PageNotFoundError(f"there is nothing at {path}; the API's pages are /docs and /redoc")
